//! A share of the CPU, between the two scales that cgroups have for it.

/// A share of the CPU, as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Version 1: 2 to 262144, usually 1024.
    Shares(u64),
    /// Version 2: 1 to 10000, usually 100.
    Weight(u64),
}

/// The bounds of `cpu.shares`.
const SHARES: (u64, u64) = (2, 262_144);

impl Weight {
    /// As version 2's `cpu.weight`.
    pub(super) fn as_weight(self) -> u64 {
        match self {
            Self::Weight(weight) => weight,
            Self::Shares(shares) => weight_of(shares),
        }
    }

    /// As version 1's `cpu.shares`.
    pub(super) fn as_shares(self) -> u64 {
        match self {
            Self::Shares(shares) => shares,
            Self::Weight(weight) => shares_of(weight),
        }
    }
}

/// The weight that a share of version 1 becomes: the curve through both minima, both usual values and both maxima that
/// runc uses since 1.3.2 and crun since 1.23 (opencontainers/runc#4785).
pub(super) fn weight_of(shares: u64) -> u64 {
    if shares <= SHARES.0 {
        return 1;
    }
    if shares >= SHARES.1 {
        return 10_000;
    }
    // At most 18 bits: exact as a floating point number.
    #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
    let bits = (shares as f64).log2();
    let exponent = (bits * bits + 125.0 * bits) / 612.0 - 7.0 / 34.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10000"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

/// The weight that older runtimes make of a share: a straight line, on which the usual 1024 becomes 39.
pub(super) fn linear_weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(SHARES.0, SHARES.1) - SHARES.0) * 9999 / (SHARES.1 - SHARES.0)
}

/// The share that becomes this weight: of all that do, the one that the runtimes use most, 1024, or the largest.
fn shares_of(weight: u64) -> u64 {
    if weight_of(1024) == weight {
        return 1024;
    }
    let (mut low, mut high) = SHARES;
    // The curve rises: the largest share whose weight is not above this one.
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if weight_of(middle) <= weight {
            low = middle
        } else {
            high = middle - 1
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_runtimes() {
        let cases = [
            (0, 1),
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (512, 59),
            (2048, 174),
            (999_999, 10_000),
        ];
        for (shares, weight) in cases {
            assert_eq!(weight_of(shares), weight, "{shares}");
        }
        assert_eq!(linear_weight_of(1024), 39);
        assert_eq!(linear_weight_of(2), 1);
        assert_eq!(linear_weight_of(262_144), 10_000);
    }

    #[test]
    fn every_weight_comes_back_through_shares() {
        for weight in 1..=10_000 {
            let shares = shares_of(weight);
            let back = weight_of(shares);
            assert!(
                back <= weight && (back == weight || weight_of(shares + 1) > weight),
                "{weight}: {shares}, {back}"
            );
        }
        assert_eq!(shares_of(100), 1024);
        assert_eq!(shares_of(10_000), 262_144);
        assert_eq!(shares_of(1), 2);
    }
}
