//! [`Launcher`]: what a launcher tells a process of its place in a job, by environment variables.

use wellspring_store::Share;

/// A launcher that has started this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// Its name, for people.
    pub name: &'static str,
    /// The place that it gives this process.
    pub share: Share,
}

/// Launchers, with the variables in which they tell rank and world. Slurm's come last: a job step of `mpirun` within an
/// allocation of Slurm has both.
const KNOWN: [(&str, &str, &str); 3] = [
    (
        "mpirun of Open MPI",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
    ),
    ("mpiexec", "PMI_RANK", "PMI_SIZE"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
];

impl Launcher {
    /// The launcher of this process, if it was started by one.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        KNOWN.into_iter().find_map(|(name, rank, world)| {
            let number = |name| variable(name)?.trim().parse().ok();
            let share = Share {
                rank: number(rank)?,
                world: number(world)?,
            };
            Some(Self { name, share })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_is_who_says_rank_and_world() {
        let found = |said: &[(&str, &str)]| {
            let said = said.to_vec();
            Launcher::of(move |name| {
                let held = said.iter().find(|(held, _)| *held == name);
                held.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("OMPI_COMM_WORLD_RANK", "1")]), None);
        let slurm = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1")];
        assert_eq!(found(&slurm).map(|found| found.name), Some("srun"));
        let both = [
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "1"),
            ("OMPI_COMM_WORLD_RANK", "2"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
        ];
        let share = Share { rank: 2, world: 4 };
        assert_eq!(found(&both).map(|found| found.share), Some(share));
    }
}
