//! The types of exchange, by the names that clients write.

use crate::error::BrokerError;

/// The type of exchange that keeps messages back, as clients write it: it routes as its argument
/// `x-delayed-type` says.
pub const DELAYED_MESSAGE: &str = "x-delayed-message";

/// The type of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeType {
    /// The routing key equals the binding key.
    Direct,
    /// Everything that is bound.
    Fanout,
    /// The routing key matches a pattern.
    Topic,
    /// The headers match the binding's arguments.
    Headers,
    /// A hash chooses one destination by weight.
    ConsistentHash,
    /// A hash chooses one binding.
    ModulusHash,
    /// Chance chooses one binding.
    Random,
    /// As [`Self::Random`], to classic queues alone.
    LocalRandom,
}

impl ExchangeType {
    /// The type of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self, BrokerError> {
        match name {
            "direct" => Ok(Self::Direct),
            "fanout" => Ok(Self::Fanout),
            "topic" => Ok(Self::Topic),
            "headers" => Ok(Self::Headers),
            "x-consistent-hash" => Ok(Self::ConsistentHash),
            "x-modulus-hash" => Ok(Self::ModulusHash),
            "x-random" => Ok(Self::Random),
            "x-local-random" => Ok(Self::LocalRandom),
            other => Err(BrokerError::UnknownExchangeType(other.to_owned())),
        }
    }

    /// Its name, as clients write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
        }
    }

    /// Whether a destination can be bound once only, and a second binding to it is not made.
    #[must_use]
    pub fn binds_once(self) -> bool {
        self == Self::ConsistentHash
    }
}
