//! wellspring-spectra
