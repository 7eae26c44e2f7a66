//! [`Units`]: how stored values convert to a field's own units.

/// How stored values convert to the field's own: x = shift + scale · stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Units {
    /// Shift, in the field's units.
    pub shift: f64,
    /// The field's units for one of the stored values.
    pub scale: f64,
}

impl Units {
    /// Values that are stored as they are.
    pub const OWN: Self = Self {
        shift: 0.0,
        scale: 1.0,
    };

    /// A stored value in the field's units.
    #[must_use]
    pub fn value(self, stored: f64) -> f64 {
        self.shift + self.scale * stored
    }
}
