//! By what a chart shows the volume.

use threadline_diesel::query::VolumeColumn;

/// What a chart shows: `by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ChartBy {
    #[default]
    Time,
    Table,
    Actor,
    Op,
    TableTime,
    ActorTime,
}

impl ChartBy {
    pub(crate) const ALL: [Self; 6] = [
        Self::Time,
        Self::Table,
        Self::Actor,
        Self::Op,
        Self::TableTime,
        Self::ActorTime,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Table => "table",
            Self::Actor => "actor",
            Self::Op => "op",
            Self::TableTime => "table-time",
            Self::ActorTime => "actor-time",
        }
    }

    /// The words of a link to the chart.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::TableTime => "table and time",
            Self::ActorTime => "actor and time",
            other => other.as_str(),
        }
    }

    /// The heading of its values.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Time => "Time",
            Self::Table | Self::TableTime => "Table",
            Self::Actor | Self::ActorTime => "Actor",
            Self::Op => "Operation",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|by| by.as_str() == text);
        found.ok_or_else(|| "write time, table, actor, op, table-time or actor-time".to_owned())
    }

    /// The column by which changes are counted; none for time alone.
    pub(crate) fn column(self) -> Option<VolumeColumn> {
        match self {
            Self::Time => None,
            Self::Table | Self::TableTime => Some(VolumeColumn::Table),
            Self::Actor | Self::ActorTime => Some(VolumeColumn::Actor),
            Self::Op => Some(VolumeColumn::Op),
        }
    }

    /// Whether the chart shows changes over time.
    pub(crate) fn is_over_time(self) -> bool {
        matches!(self, Self::Time | Self::TableTime | Self::ActorTime)
    }
}
