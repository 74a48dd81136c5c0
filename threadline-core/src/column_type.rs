//! How capture treats a column by its type: how it compares two values, how it converts a value to
//! JSON without loss, and which session settings affect the conversion.
//!
//! Names and OIDs are those of `pg_type`; the other properties follow from each type's `=` operator
//! and output function. For example, `numeric` compares 1.0 and 1.00 as equal, so it is compared by
//! its record image; `json` is stored as text, because `jsonb` loses white space, key order,
//! duplicate keys and `\u0000`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A column's type, as far as capture distinguishes types.
///
/// ```
/// use threadline_core::column_type::ColumnType;
///
/// assert_eq!(ColumnType::from_oid(20), Some(ColumnType::builtin("int8")));
/// assert_eq!(ColumnType::builtin("hstore"), ColumnType::Other("hstore".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnType {
    /// A type of `pg_catalog`, by its `typname` (`int8`, not `bigint`).
    Builtin(String),
    /// An array of a type of `pg_catalog`, by the element's `typname`.
    Array(String),
    /// An enum.
    Enum(String),
    /// Any other type: composite and extension types, arrays of those, and types that are unknown
    /// at compile time. Values are stored in text form.
    Other(String),
}

/// How capture decides whether two values of a type differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// By `pg_catalog.=`, which is true exactly if the stored bytes are equal.
    Operator,
    /// Under the C collation, because nondeterministic collations compare different texts as equal.
    Bytewise,
    /// By the stored bytes, as one-column records: 1.0 and 1.00 differ, and the type needs no
    /// operator.
    Image,
}

/// How a value is converted to JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendering {
    /// By `to_jsonb`.
    Native,
    /// As a number, except `-0`, which `jsonb` numbers cannot represent, as text.
    Float,
    /// As a JSON array if all lower bounds are 1, else in text form.
    Array,
    /// As [`Rendering::Array`], and in text form if an element is `-0`.
    FloatArray,
    /// In text form.
    Text,
}

/// A session setting that affects the text form of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionSetting {
    ByteaOutput,
    DateStyle,
    ExtraFloatDigits,
    IntervalStyle,
    LcMonetary,
    TimeZone,
}

impl SessionSetting {
    const ALL: [Self; 6] = [
        Self::ByteaOutput,
        Self::DateStyle,
        Self::ExtraFloatDigits,
        Self::IntervalStyle,
        Self::LcMonetary,
        Self::TimeZone,
    ];

    /// The name of the setting and the value that capture functions set.
    pub(crate) fn canonical(self) -> (&'static str, &'static str) {
        match self {
            Self::ByteaOutput => ("bytea_output", "hex"),
            Self::DateStyle => ("datestyle", "ISO, MDY"),
            Self::ExtraFloatDigits => ("extra_float_digits", "1"),
            Self::IntervalStyle => ("intervalstyle", "postgres"),
            Self::LcMonetary => ("lc_monetary", "C"),
            Self::TimeZone => ("timezone", "UTC"),
        }
    }
}

struct Builtin {
    name: &'static str,
    oid: u32,
    array_oid: u32,
    comparison: Comparison,
    rendering: Rendering,
    settings: &'static [SessionSetting],
}

const fn builtin(
    name: &'static str,
    oid: u32,
    array_oid: u32,
    comparison: Comparison,
    rendering: Rendering,
    settings: &'static [SessionSetting],
) -> Builtin {
    Builtin {
        name,
        oid,
        array_oid,
        comparison,
        rendering,
        settings,
    }
}

const NO_SETTING: &[SessionSetting] = &[];
const FLOAT: &[SessionSetting] = &[SessionSetting::ExtraFloatDigits];
const TIME_ZONE: &[SessionSetting] = &[SessionSetting::TimeZone];
const DATE_STYLE: &[SessionSetting] = &[SessionSetting::DateStyle];
const DATE_STYLE_AND_TIME_ZONE: &[SessionSetting] =
    &[SessionSetting::DateStyle, SessionSetting::TimeZone];

#[rustfmt::skip]
const BUILTINS: &[Builtin] = {
    use Comparison::{Operator, Image, Bytewise};
    use Rendering::{Float, Native, Text};
    &[
        builtin("bool", 16, 1000, Operator, Native, NO_SETTING),
        builtin("bytea", 17, 1001, Operator, Native, &[SessionSetting::ByteaOutput]),
        builtin("char", 18, 1002, Operator, Native, NO_SETTING),
        builtin("name", 19, 1003, Bytewise, Native, NO_SETTING),
        builtin("int8", 20, 1016, Operator, Native, NO_SETTING),
        builtin("int2", 21, 1005, Operator, Native, NO_SETTING),
        builtin("int4", 23, 1007, Operator, Native, NO_SETTING),
        builtin("text", 25, 1009, Bytewise, Native, NO_SETTING),
        builtin("oid", 26, 1028, Operator, Native, NO_SETTING),
        builtin("tid", 27, 1010, Image, Native, NO_SETTING),
        builtin("xid", 28, 1011, Image, Native, NO_SETTING),
        builtin("json", 114, 199, Image, Text, NO_SETTING),
        builtin("xml", 142, 143, Image, Native, NO_SETTING),
        builtin("point", 600, 1017, Image, Native, FLOAT),
        builtin("lseg", 601, 1018, Image, Native, FLOAT),
        builtin("path", 602, 1019, Image, Native, FLOAT),
        builtin("box", 603, 1020, Image, Native, FLOAT),
        builtin("polygon", 604, 1027, Image, Native, FLOAT),
        builtin("line", 628, 629, Image, Native, FLOAT),
        builtin("cidr", 650, 651, Image, Native, NO_SETTING),
        builtin("float4", 700, 1021, Image, Float, FLOAT),
        builtin("float8", 701, 1022, Image, Float, FLOAT),
        builtin("circle", 718, 719, Image, Native, FLOAT),
        builtin("macaddr8", 774, 775, Operator, Native, NO_SETTING),
        builtin("money", 790, 791, Operator, Native, &[SessionSetting::LcMonetary]),
        builtin("macaddr", 829, 1040, Operator, Native, NO_SETTING),
        builtin("inet", 869, 1041, Image, Native, NO_SETTING),
        builtin("bpchar", 1042, 1014, Image, Native, NO_SETTING),
        builtin("varchar", 1043, 1015, Bytewise, Native, NO_SETTING),
        builtin("date", 1082, 1182, Operator, Native, NO_SETTING),
        builtin("time", 1083, 1183, Operator, Native, NO_SETTING),
        builtin("timestamp", 1114, 1115, Operator, Native, NO_SETTING),
        builtin("timestamptz", 1184, 1185, Operator, Native, TIME_ZONE),
        builtin("interval", 1186, 1187, Image, Native, &[SessionSetting::IntervalStyle]),
        builtin("timetz", 1266, 1270, Image, Native, NO_SETTING),
        builtin("bit", 1560, 1561, Image, Native, NO_SETTING),
        builtin("varbit", 1562, 1563, Image, Native, NO_SETTING),
        builtin("numeric", 1700, 1231, Image, Native, NO_SETTING),
        builtin("regprocedure", 2202, 2207, Operator, Native, NO_SETTING),
        builtin("regoper", 2203, 2208, Operator, Native, NO_SETTING),
        builtin("regoperator", 2204, 2209, Operator, Native, NO_SETTING),
        builtin("regclass", 2205, 2210, Operator, Native, NO_SETTING),
        builtin("regtype", 2206, 2211, Operator, Native, NO_SETTING),
        builtin("regrole", 4096, 4097, Operator, Native, NO_SETTING),
        builtin("regnamespace", 4089, 4090, Operator, Native, NO_SETTING),
        builtin("regproc", 24, 1008, Operator, Native, NO_SETTING),
        builtin("regconfig", 3734, 3735, Operator, Native, NO_SETTING),
        builtin("regdictionary", 3769, 3770, Operator, Native, NO_SETTING),
        builtin("regcollation", 4191, 4192, Operator, Native, NO_SETTING),
        builtin("uuid", 2950, 2951, Operator, Native, NO_SETTING),
        builtin("pg_lsn", 3220, 3221, Operator, Native, NO_SETTING),
        builtin("tsvector", 3614, 3643, Image, Native, NO_SETTING),
        builtin("tsquery", 3615, 3645, Image, Native, NO_SETTING),
        builtin("jsonb", 3802, 3807, Image, Native, NO_SETTING),
        builtin("int4range", 3904, 3905, Image, Native, NO_SETTING),
        builtin("numrange", 3906, 3907, Image, Native, NO_SETTING),
        builtin("tsrange", 3908, 3909, Image, Native, DATE_STYLE),
        builtin("tstzrange", 3910, 3911, Image, Native, DATE_STYLE_AND_TIME_ZONE),
        builtin("daterange", 3912, 3913, Image, Native, DATE_STYLE),
        builtin("int8range", 3926, 3927, Image, Native, NO_SETTING),
        builtin("jsonpath", 4072, 4073, Image, Native, NO_SETTING),
        builtin("int4multirange", 4451, 6150, Image, Native, NO_SETTING),
        builtin("nummultirange", 4532, 6151, Image, Native, NO_SETTING),
        builtin("tsmultirange", 4533, 6152, Image, Native, DATE_STYLE),
        builtin("tstzmultirange", 4534, 6153, Image, Native, DATE_STYLE_AND_TIME_ZONE),
        builtin("datemultirange", 4535, 6155, Image, Native, DATE_STYLE),
        builtin("int8multirange", 4536, 6157, Image, Native, NO_SETTING),
        builtin("xid8", 5069, 271, Operator, Native, NO_SETTING),
    ]
};

fn find_builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

impl ColumnType {
    /// The type of `pg_catalog` with this `typname`, or [`ColumnType::Other`] for names that are not
    /// known.
    #[must_use]
    pub fn builtin(typname: &str) -> Self {
        match find_builtin(typname) {
            Some(builtin) => Self::Builtin(builtin.name.to_owned()),
            None => Self::Other(typname.to_owned()),
        }
    }

    /// The array type of a type of `pg_catalog`, by the element's `typname`.
    #[must_use]
    pub fn array_of(typname: &str) -> Self {
        match find_builtin(typname) {
            Some(builtin) => Self::Array(builtin.name.to_owned()),
            None => Self::Other(format!("{typname}[]")),
        }
    }

    /// The built-in scalar or array type with this OID.
    #[must_use]
    pub fn from_oid(oid: u32) -> Option<Self> {
        BUILTINS.iter().find_map(|builtin| {
            if builtin.oid == oid {
                Some(Self::Builtin(builtin.name.to_owned()))
            } else if builtin.array_oid == oid {
                Some(Self::Array(builtin.name.to_owned()))
            } else {
                None
            }
        })
    }

    pub(crate) fn comparison(&self) -> Comparison {
        match self {
            Self::Builtin(name) => {
                find_builtin(name).map_or(Comparison::Image, |found| found.comparison)
            }
            Self::Array(_) | Self::Enum(_) | Self::Other(_) => Comparison::Image,
        }
    }

    pub(crate) fn rendering(&self) -> Rendering {
        match self {
            Self::Builtin(name) => {
                find_builtin(name).map_or(Rendering::Text, |found| found.rendering)
            }
            // An element that is itself a JSON array would be read back as a further dimension.
            Self::Array(element) if matches!(element.as_str(), "json" | "jsonb") => Rendering::Text,
            Self::Array(element) if matches!(element.as_str(), "float4" | "float8") => {
                Rendering::FloatArray
            }
            Self::Array(_) => Rendering::Array,
            Self::Enum(_) => Rendering::Native,
            Self::Other(_) => Rendering::Text,
        }
    }

    pub(crate) fn session_settings(&self) -> BTreeSet<SessionSetting> {
        let settings_of = |name: &str| -> BTreeSet<SessionSetting> {
            find_builtin(name)
                .map(|found| found.settings.iter().copied().collect())
                .unwrap_or_default()
        };
        match self {
            Self::Builtin(name) => settings_of(name),
            // Arrays can be stored in text form, where dates follow DateStyle. In JSON they are
            // always in ISO style.
            Self::Array(element) => {
                let mut settings = settings_of(element);
                if matches!(element.as_str(), "date" | "timestamp" | "timestamptz") {
                    settings.insert(SessionSetting::DateStyle);
                }
                settings
            }
            Self::Enum(_) => BTreeSet::new(),
            // The text form of an unknown type can depend on any setting.
            Self::Other(_) => SessionSetting::ALL.into_iter().collect(),
        }
    }

    /// Whether the text form of values has no small maximum length, so that a key of this type may
    /// have to be replaced by a digest.
    pub(crate) fn is_unbounded(&self) -> bool {
        !matches!(self, Self::Builtin(name)
            if matches!(name.as_str(),
                "bool" | "char" | "name" | "int2" | "int4" | "int8" | "oid" | "uuid" | "date"
                | "time" | "timetz" | "timestamp" | "timestamptz" | "float4" | "float8"
                | "macaddr" | "macaddr8" | "inet" | "cidr" | "money" | "pg_lsn" | "xid8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_names_and_oids_are_unique() {
        let names: BTreeSet<_> = BUILTINS.iter().map(|builtin| builtin.name).collect();
        let oids: BTreeSet<_> = BUILTINS
            .iter()
            .flat_map(|builtin| [builtin.oid, builtin.array_oid])
            .collect();
        assert_eq!(names.len(), BUILTINS.len());
        assert_eq!(oids.len(), 2 * BUILTINS.len());
    }

    #[test]
    fn types_with_inexact_equality_are_compared_by_image() {
        for name in ["numeric", "float8", "interval", "jsonb", "bpchar", "point"] {
            assert_eq!(
                ColumnType::builtin(name).comparison(),
                Comparison::Image,
                "{name}"
            );
        }
        assert_eq!(
            ColumnType::builtin("citext").comparison(),
            Comparison::Image
        );
    }
}
