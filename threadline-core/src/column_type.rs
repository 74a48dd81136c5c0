//! What a column's type asks of capture: how two values are compared exactly, how one is written
//! so that PostgreSQL reads the same value back, and which session settings would show in it.
//!
//! The table of types below was read off `pg_type`; the choices rest on what each type's `=` and
//! output function do. `numeric` for instance calls 1.0 and 1.00 equal, so it is compared by its
//! record image; `json` is kept as text, because `jsonb` would lose spaces, key order, duplicate
//! keys and `\u0000`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A column's type, as far as capture cares.
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
    /// Anything else: composites, extensions' types, arrays of those, types unknown at build
    /// time. Written in their own text form.
    Other(String),
}

/// How two values of a type are told apart without error and without mercy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `pg_catalog.=` holds exactly when the stored bytes are the same.
    Operator,
    /// Under the C collation: a nondeterministic one calls different texts equal.
    Bytewise,
    /// By the stored bytes, of one-column records: 1.0 and 1.00 differ, and no operator of the type is
    /// looked up.
    Image,
}

/// How a value becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendering {
    /// As `to_jsonb` gives it.
    Native,
    /// A number, but `-0`, which JSON numbers of PostgreSQL do not keep, as text.
    Float,
    /// A JSON array, unless its bounds are unusual; then its text form.
    Array,
    /// The same of floats, of which none may be `-0`.
    FloatArray,
    /// Its text form.
    Text,
}

/// A setting of the session that changes how values are written.
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

    /// The setting and the value under which values are stored.
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
const STAMPED: &[SessionSetting] = &[SessionSetting::TimeZone];
const DATED: &[SessionSetting] = &[SessionSetting::DateStyle];
const DATED_AND_ZONED: &[SessionSetting] = &[SessionSetting::DateStyle, SessionSetting::TimeZone];

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
        builtin("timestamptz", 1184, 1185, Operator, Native, STAMPED),
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
        builtin("tsrange", 3908, 3909, Image, Native, DATED),
        builtin("tstzrange", 3910, 3911, Image, Native, DATED_AND_ZONED),
        builtin("daterange", 3912, 3913, Image, Native, DATED),
        builtin("int8range", 3926, 3927, Image, Native, NO_SETTING),
        builtin("jsonpath", 4072, 4073, Image, Native, NO_SETTING),
        builtin("int4multirange", 4451, 6150, Image, Native, NO_SETTING),
        builtin("nummultirange", 4532, 6151, Image, Native, NO_SETTING),
        builtin("tsmultirange", 4533, 6152, Image, Native, DATED),
        builtin("tstzmultirange", 4534, 6153, Image, Native, DATED_AND_ZONED),
        builtin("datemultirange", 4535, 6155, Image, Native, DATED),
        builtin("int8multirange", 4536, 6157, Image, Native, NO_SETTING),
        builtin("xid8", 5069, 271, Operator, Native, NO_SETTING),
    ]
};

fn find_builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

impl ColumnType {
    /// A type of `pg_catalog` by its `typname`; a name the table of types does not hold becomes
    /// [`ColumnType::Other`], which is always captured exactly, in text form.
    #[must_use]
    pub fn builtin(typname: &str) -> Self {
        match find_builtin(typname) {
            Some(builtin) => Self::Builtin(builtin.name.to_owned()),
            None => Self::Other(typname.to_owned()),
        }
    }

    /// An array of a type of `pg_catalog`, by the element's `typname`.
    #[must_use]
    pub fn array_of(typname: &str) -> Self {
        match find_builtin(typname) {
            Some(builtin) => Self::Array(builtin.name.to_owned()),
            None => Self::Other(format!("{typname}[]")),
        }
    }

    /// The type behind an OID of PostgreSQL's own types, scalar or array.
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
            // The elements of json arrays would be read back as more dimensions.
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
        let of_builtin = |name: &str| -> BTreeSet<SessionSetting> {
            find_builtin(name)
                .map(|found| found.settings.iter().copied().collect())
                .unwrap_or_default()
        };
        match self {
            Self::Builtin(name) => of_builtin(name),
            // In text form an array shows what its elements' text form depends on. As JSON, dates are
            // always ISO.
            Self::Array(element) => {
                let mut settings = of_builtin(element);
                if matches!(element.as_str(), "date" | "timestamp" | "timestamptz") {
                    settings.insert(SessionSetting::DateStyle);
                }
                settings
            }
            Self::Enum(_) => BTreeSet::new(),
            // What an unknown type shows is unknown.
            Self::Other(_) => SessionSetting::ALL.into_iter().collect(),
        }
    }

    /// Whether values of the type have no bound on their length, so that a key made of them has
    /// to be shortened for an index.
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
    fn every_builtin_is_listed_once() {
        let names: BTreeSet<_> = BUILTINS.iter().map(|builtin| builtin.name).collect();
        let oids: BTreeSet<_> = BUILTINS
            .iter()
            .flat_map(|builtin| [builtin.oid, builtin.array_oid])
            .collect();
        assert_eq!(names.len(), BUILTINS.len());
        assert_eq!(oids.len(), 2 * BUILTINS.len());
    }

    #[test]
    fn types_that_lie_about_equality_are_compared_by_image() {
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
