//! wellspring-store
