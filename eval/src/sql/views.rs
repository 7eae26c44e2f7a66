//! The named views: one SQL file each, whose first line describes it. Means have the ends of their 95 %
//! interval over trajectories. Views group by `runs.dataset`, which is the name of a single task (see
//! `tables`).

/// A named view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Name of the view in SQL.
    pub name: &'static str,
    /// SQL of the view, with the comment on top.
    pub sql: &'static str,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::of("leaderboard", include_str!("views/leaderboard.sql")),
        Self::of("scaling", include_str!("views/scaling.sql")),
        Self::of("by_lead", include_str!("views/by_lead.sql")),
        Self::of("bands", include_str!("views/bands.sql")),
        Self::of(
            "residual_spectrum",
            include_str!("views/residual_spectrum.sql"),
        ),
        Self::of("table1", include_str!("views/table1.sql")),
        Self::of("artefacts", include_str!("views/artefacts.sql")),
        Self::of("divergence", include_str!("views/divergence.sql")),
        Self::of("cost", include_str!("views/cost.sql")),
    ];

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
