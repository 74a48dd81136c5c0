//! By what a chart shows the volume.

use threadline_diesel::query::VolumeColumn;

/// What the bars of a chart are: `by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ChartBy {
    #[default]
    Time,
    Table,
    Actor,
    Op,
}

impl ChartBy {
    pub(crate) const ALL: [Self; 4] = [Self::Time, Self::Table, Self::Actor, Self::Op];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Table => "table",
            Self::Actor => "actor",
            Self::Op => "op",
        }
    }

    /// The heading of its values.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Time => "Time",
            Self::Table => "Table",
            Self::Actor => "Actor",
            Self::Op => "Operation",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|by| by.as_str() == text);
        found.ok_or_else(|| "write time, table, actor or op".to_owned())
    }

    /// The column by which changes are counted; none for time.
    pub(crate) fn column(self) -> Option<VolumeColumn> {
        match self {
            Self::Time => None,
            Self::Table => Some(VolumeColumn::Table),
            Self::Actor => Some(VolumeColumn::Actor),
            Self::Op => Some(VolumeColumn::Op),
        }
    }
}
