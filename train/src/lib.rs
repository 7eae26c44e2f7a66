//! wellspring-train
