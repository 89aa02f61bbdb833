//! Names in events, which a newer version may extend.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A value with a fixed name in events.
pub trait Name: Copy + 'static {
    /// Returns the name.
    fn as_str(self) -> &'static str;

    /// Returns the value with this name, if this version knows it.
    fn from_name(name: &str) -> Option<Self>;
}

/// A name in an event that was read: one that this version knows, or that of a newer version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Named<T> {
    /// A name that this version knows.
    Known(T),
    /// Any other name.
    Unknown(String),
}

impl<T: Name> Named<T> {
    /// Returns the value with this name, or [`Named::Unknown`].
    pub fn from_name(name: &str) -> Self {
        T::from_name(name).map_or_else(|| Self::Unknown(name.to_owned()), Self::Known)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(value) => value.as_str(),
            Self::Unknown(name) => name,
        }
    }

    /// Returns the value, if this version knows the name.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }
}

impl<T: Name> From<T> for Named<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Name + PartialEq> PartialEq<T> for Named<T> {
    fn eq(&self, value: &T) -> bool {
        self.known() == Some(*value)
    }
}

impl<T: Name> fmt::Display for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Defines an enum whose variants have names in events and a meaning, which is the doc comment.
macro_rules! names {
    ($(#[$attribute:meta])* $type:ident { $(#[doc = $doc:literal] $variant:ident = $name:literal;)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $type { $(#[doc = $doc] #[serde(rename = $name)] $variant,)* }

        impl $type {
            /// All values, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name in events.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the description: one sentence with a full stop.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }.trim_start()
            }
        }

        impl $crate::Name for $type {
            fn as_str(self) -> &'static str {
                self.as_str()
            }

            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorCode, StageName, Step};

    fn check_names<T>(all: &[T])
    where
        T: Name + PartialEq + fmt::Debug + Serialize + for<'a> Deserialize<'a>,
    {
        for value in all {
            let named = Named::from_name(value.as_str());
            assert_eq!(named, Named::Known(*value));
            let json = serde_json::to_string(&named).unwrap();
            assert_eq!(json, format!("\"{}\"", value.as_str()));
            assert_eq!(serde_json::from_str::<Named<T>>(&json).unwrap(), named);
        }
        let newer: Named<T> = serde_json::from_str("\"newer\"").unwrap();
        assert_eq!((newer.as_str(), newer.known()), ("newer", None));
        assert_eq!(serde_json::to_string(&newer).unwrap(), "\"newer\"");
    }

    #[test]
    fn names_round_trip_and_unknown_names_are_kept() {
        check_names(StageName::ALL);
        check_names(Step::ALL);
        check_names(ErrorCode::ALL);
    }
}
