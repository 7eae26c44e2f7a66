//! The named views over results and over trainings: one SQL file each, whose first line says what it answers. Means come with the ends
//! of their 95 % interval over trajectories; `starts` is how many starts a mean is over, to weigh it by. They group and
//! show by `runs.dataset`, which is a name of one task alone (see `tables`). Figures ask them.

/// A named view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Name of the view in SQL.
    pub name: &'static str,
    /// SQL of the view, with the comment on top.
    pub sql: &'static str,
}

impl View {
    /// Those over the tables of results.
    pub const OF_RESULTS: [Self; 16] = [
        Self::of("leaderboard", include_str!("views/leaderboard.sql")),
        Self::of("scaling", include_str!("views/scaling.sql")),
        Self::of("by_lead", include_str!("views/by_lead.sql")),
        Self::of("horizons", include_str!("views/horizons.sql")),
        Self::of("compare", include_str!("views/compare.sql")),
        Self::of("bands", include_str!("views/bands.sql")),
        Self::of(
            "residual_spectrum",
            include_str!("views/residual_spectrum.sql"),
        ),
        Self::of(
            "relative_residual",
            include_str!("views/relative_residual.sql"),
        ),
        Self::of("patches", include_str!("views/patches.sql")),
        Self::of("best_schedule", include_str!("views/best_schedule.sql")),
        Self::of("table1", include_str!("views/table1.sql")),
        Self::of("artefacts", include_str!("views/artefacts.sql")),
        Self::of("divergence", include_str!("views/divergence.sql")),
        Self::of("cost", include_str!("views/cost.sql")),
        Self::of("ensemble", include_str!("views/ensemble.sql")),
        Self::of("claims", include_str!("views/claims.sql")),
    ];

    /// Those over the logs of trainings.
    pub const OF_TRAININGS: [Self; 2] = [
        Self::of("training_runs", include_str!("views/training_runs.sql")),
        Self::of("curves", include_str!("views/curves.sql")),
    ];

    /// That over all tables and views.
    pub const OF_ALL: Self = Self::of("columns", include_str!("views/columns.sql"));

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_tables = Self::OF_RESULTS.into_iter().chain(Self::OF_TRAININGS);
        of_tables.chain([Self::OF_ALL])
    }

    const fn of(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql }
    }

    /// The question that it answers.
    #[must_use]
    pub fn question(&self) -> &'static str {
        self.sql
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("-- ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
