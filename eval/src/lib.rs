//! wellspring-eval
