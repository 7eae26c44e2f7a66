//! The budget schedule: a mean number of tokens, spent where the model is least certain.
//!
//! Every fourth step is predicted at the two largest patch sizes. The distance of the two predictions,
//! relative to the predicted change, is the model's disagreement with itself about this state. If it is
//! among the largest so far, over all rollouts of the evaluation, steps are predicted at the smallest
//! patch size; otherwise at the largest (or the second largest, if that prediction exists already).
//! The budget determines the share of small patches. An account keeps the mean: the tokens spent,
//! including those of comparisons, never exceed the budget for the steps so far.
//!
//! Its benefit: on a shear flow of 64 × 128 (CKM of 0.6 M parameters, 200 steps, 8 rollouts of 8
//! frames), mean VRMSE over the leads was 0.195 at 110 tokens, 0.206 for p = 8 throughout at 128, 0.207
//! for p = 16 at 32: it beats a fixed size of about equal cost by a twentieth. It does not beat a cycle:
//! 4, 8, 16 took 248 tokens to 0.185, a budget of 248 spent 216 to 0.196.
//!
//! On the demo's data (64 × 64, 2000 steps, 16 starts of 12 leads, `eval --rollout 12 --every 4`), mean VRMSE over
//! leads and fields, with the tokens of a frame:
//!
//! | model | p = 8 | budget of as many | 4, 8, 16 | budget of as many |
//! |---|---|---|---|---|
//! | CKM | 0.0993 (64) | 0.0964 (61) | 0.0923 (112) | 0.0943 (108) |
//! | CSM | 0.0887 (49) | 0.0884 (47) | 0.0768 (97) | 0.0800 (93) |

use serde::{Deserialize, Serialize};
use wellspring_store::{Frames, Patch};

use super::{Size, Step};
use crate::error::SubjectError;

/// Steps from one comparison to the next.
const PROBE_EVERY: u64 = 4;
/// Steps' worth of unspent tokens from which they are spent on any state.
const RICH: f64 = 8.0;

pub(super) struct Budget {
    /// Mean tokens of a step.
    tokens: f64,
    coarse: Size,
    middle: Size,
    fine: Size,
    /// Share of the steps that may be fine.
    share: f64,
    pub(super) state: BudgetState,
}

/// What a budget has spent and learned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BudgetState {
    spent: f64,
    steps: u64,
    /// All disagreements so far, ascending.
    seen: Vec<f64>,
    /// The last one, if it is finite.
    disagreement: Option<f64>,
}

impl Budget {
    /// A budget for the model's patch sizes; the error says why there are too few.
    pub(super) fn new(tokens: f64, mut sizes: Vec<Size>) -> Result<Self, String> {
        sizes.sort_by_key(|size| size.tokens);
        sizes.dedup_by_key(|size| size.tokens);
        let [coarse, middle, ..] = sizes.as_slice() else {
            return Err("the model has one patch size, so there is nothing to choose".into());
        };
        let least = coarse.tokens as f64 + middle.tokens as f64 / PROBE_EVERY as f64;
        if tokens < least {
            return Err(format!(
                "a budget on this grid starts at {:.0} tokens: a step of {} and every {PROBE_EVERY}th one of {} more",
                least.ceil(),
                coarse.tokens,
                middle.tokens
            ));
        }
        let fine = &sizes[sizes.len() - 1];
        Ok(Self {
            tokens,
            share: (tokens - least) / (fine.tokens - coarse.tokens) as f64,
            coarse: coarse.clone(),
            middle: middle.clone(),
            fine: fine.clone(),
            state: BudgetState::default(),
        })
    }

    pub(super) fn step(
        &mut self,
        seen: &Frames,
        predict: impl Fn(&Patch) -> Result<Frames, SubjectError>,
    ) -> Result<Step, SubjectError> {
        let mut cost = 0;
        let mut at_hand = None;
        if self.state.steps.is_multiple_of(PROBE_EVERY) {
            let (coarse, middle) = (predict(&self.coarse.patch)?, predict(&self.middle.patch)?);
            cost += self.coarse.tokens + self.middle.tokens;
            self.state
                .learn(disagreement(&coarse, &middle, &seen.frame(seen.time() - 1)));
            at_hand = Some((self.middle.clone(), middle));
        }
        let is_fine = at_hand.as_ref().is_some_and(|(size, _)| *size == self.fine);
        let (size, prediction) = if !is_fine && self.spends(cost) {
            cost += self.fine.tokens;
            (self.fine.clone(), predict(&self.fine.patch)?)
        } else if let Some(at_hand) = at_hand {
            at_hand
        } else {
            cost += self.coarse.tokens;
            (self.coarse.clone(), predict(&self.coarse.patch)?)
        };
        self.state.spent += cost as f64;
        self.state.steps += 1;
        Ok(Step {
            prediction,
            patch: size.patch,
            tokens: cost,
        })
    }

    /// Whether this step is to be fine, after what it cost already.
    fn spends(&self, cost: usize) -> bool {
        let state = &self.state;
        let Some(disagreement) = state.disagreement else {
            return false;
        };
        let after = state.spent + (cost + self.fine.tokens) as f64;
        let unspent = self.tokens * (state.steps + 1) as f64 - after;
        let below = state.seen.partition_point(|&other| other <= disagreement);
        let rank = below as f64 / state.seen.len().max(1) as f64;
        unspent >= 0.0 && (rank > 1.0 - self.share || unspent >= RICH * self.tokens)
    }
}

impl BudgetState {
    /// A state that is not finite teaches nothing, and nothing more is spent on it.
    fn learn(&mut self, disagreement: f64) {
        self.disagreement = Some(disagreement).filter(|disagreement| disagreement.is_finite());
        if self.disagreement.is_some() {
            let place = self.seen.partition_point(|&other| other < disagreement);
            self.seen.insert(place, disagreement);
        }
    }
}

/// ‖a − b‖ / ‖b − last‖.
fn disagreement(a: &Frames, b: &Frames, last: &Frames) -> f64 {
    let apart = |x: &Frames, y: &Frames| {
        let pairs = x.data().iter().zip(y.data());
        pairs
            .map(|(x, y)| f64::from(x - y).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    apart(a, b) / (apart(b, last) + f64::MIN_POSITIVE)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn sizes() -> Vec<Size> {
        let size = |(patch, tokens)| Size {
            patch: Patch::uniform(patch, 1),
            tokens,
        };
        [(16, 10), (8, 20), (4, 40)].map(size).to_vec()
    }

    /// Rolls out states whose disagreement is what they hold; gives the mean cost, and how often hard
    /// (above ½) and easy ones were fine.
    fn spend(tokens: f64) -> (f64, [f64; 2]) {
        let mut budget = Budget::new(tokens, sizes()).unwrap();
        let (mut cost, mut fine, mut count) = (0, [0.0; 2], [0.0; 2]);
        for step in 0..4000_u64 {
            let hardness = (step / PROBE_EVERY * 37 % 100) as f32 / 100.0;
            let seen = Frames::new(2, 1, 1, vec![1], vec![0.0, 0.0]).unwrap();
            let predict = |patch: &Patch| {
                let value = if patch.sizes()[0] == 16 {
                    1.0 + hardness
                } else {
                    1.0
                };
                Ok(Frames::new(1, 1, 1, vec![1], vec![value]).unwrap())
            };
            let taken = budget.step(&seen, predict).unwrap();
            cost += taken.tokens;
            assert!(
                cost as f64 <= tokens * (step + 1) as f64 + tokens,
                "at step {step}"
            );
            let hard = usize::from(hardness > 0.5);
            count[hard] += 1.0;
            fine[hard] += f64::from(u8::from(taken.patch.sizes()[0] == 4));
        }
        (
            cost as f64 / 4000.0,
            [fine[0] / count[0], fine[1] / count[1]],
        )
    }

    #[test]
    fn hard_states_get_the_tokens_and_the_mean_is_kept() {
        for tokens in [18.0, 22.0, 30.0] {
            let (mean, [easy, hard]) = spend(tokens);
            assert!(mean <= tokens && mean > 0.85 * tokens, "{mean} of {tokens}");
            assert!(hard > easy + 0.1, "{hard} {easy} at {tokens}");
        }
        let (mean, _) = spend(15.0);
        assert!(mean <= 15.0 + 1e-9, "{mean}");
    }

    #[test]
    fn too_small_a_budget_and_one_size_are_refused() {
        let refused = |tokens, sizes| Budget::new(tokens, sizes).err().unwrap();
        assert!(refused(14.0, sizes()).contains("starts at 15 tokens"));
        assert!(refused(99.0, sizes()[..1].to_vec()).contains("one patch size"));
    }
}
