//! A socket that the settings ask for.

/// A socket to bind.
#[derive(Clone, Debug)]
pub(crate) struct Bind<T> {
    /// The purpose and the address.
    pub(crate) spec: T,
    /// False for a default that is left out if the machine has no IPv6.
    pub(crate) required: bool,
}

impl<T> Bind<T> {
    pub(super) fn map<U>(self, with: impl FnOnce(T) -> U) -> Bind<U> {
        Bind { spec: with(self.spec), required: self.required }
    }
}
