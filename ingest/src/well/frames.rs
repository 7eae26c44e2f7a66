//! Frames of a file, one at a time, with every field on the whole grid.

use hdf5::{Hyperslab, SliceOrIndex};
use ndarray::{ArrayD, IxDyn};
use wellspring_store::Frames;

use super::{StoredField, WellFile};
use crate::{Error, Result};

impl WellFile {
    /// The fields that vary in time, at one frame of a sample: (1, 1, C, *space).
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::NotFinite`] for a value that is no number.
    pub(crate) fn frame(&self, sample: usize, step: usize) -> Result<Frames> {
        self.collect(sample, step, true)
    }

    /// The fields that do not vary in time: (1, 1, C, *space).
    ///
    /// # Errors
    /// As [`WellFile::frame`].
    pub(crate) fn constants(&self, sample: usize) -> Result<Frames> {
        self.collect(sample, 0, false)
    }

    fn collect(&self, sample: usize, step: usize, time_varying: bool) -> Result<Frames> {
        let space = self.schema.grid.shape();
        let mut data = Vec::new();
        for stored in self
            .stored
            .iter()
            .filter(|stored| stored.field.time_varying == time_varying)
        {
            let field = self.field(stored, sample, step)?;
            if field.iter().any(|x| !x.is_finite()) {
                return Err(Error::NotFinite {
                    file: self.named.clone(),
                    object: stored.path.clone(),
                    trajectory: sample,
                    step,
                });
            }
            // Components lie last in the file and first in a frame.
            let components: usize = field.shape()[space.len()..].iter().product();
            let field = field.iter().copied().collect::<Vec<f32>>();
            for component in 0..components {
                data.extend(field.iter().skip(component).step_by(components));
            }
        }
        let channels = data.len() / self.schema.grid.cells();
        Ok(Frames::new(1, 1, channels, space, data)?)
    }

    /// One field over (*space, *components), repeated along axes on which it does not vary.
    fn field(&self, stored: &StoredField, sample: usize, step: usize) -> Result<ArrayD<f32>> {
        let space = self.schema.grid.shape();
        let components = vec![space.len(); stored.field.order as usize];
        let whole = SliceOrIndex::Unlimited {
            start: 0,
            step: 1,
            block: 1,
        };
        let mut place = Vec::new();
        place.extend(
            stored
                .field
                .sample_varying
                .then_some(SliceOrIndex::Index(sample)),
        );
        place.extend(
            stored
                .field
                .time_varying
                .then_some(SliceOrIndex::Index(step)),
        );
        let varying = stored.dim_varying.iter().filter(|&&varies| varies).count();
        place.extend(vec![whole; varying + components.len()]);
        let failed = |source| Error::Read {
            file: self.named.clone(),
            object: format!("{} of trajectory {sample} at step {step}", stored.path),
            source,
        };
        let dataset = self.file.dataset(&stored.path).map_err(failed)?;
        let array: ArrayD<f32> = if place.is_empty() {
            ArrayD::from_elem(IxDyn(&[]), dataset.read_scalar().map_err(failed)?)
        } else {
            dataset.read_slice(Hyperslab::from(place)).map_err(failed)?
        };
        let spread: Vec<usize> = space
            .iter()
            .zip(&stored.dim_varying)
            .map(|(&n, &varies)| if varies { n } else { 1 })
            .collect();
        let full = [space, components.clone()].concat();
        let array = array.into_shape_with_order([spread, components].concat());
        let array = array.map_err(|error| failed(error.to_string().into()))?;
        match array.broadcast(IxDyn(&full)) {
            Some(view) => Ok(view.to_owned()),
            None => Err(self.layout(&stored.path, format!("does not spread over {full:?}"))),
        }
    }
}
