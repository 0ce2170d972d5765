//! Fixed predictors and Rice codes: one channel of one block to a subframe (RFC 9639 §9.2).

use super::bits::Bits;

/// The highest order of a fixed predictor.
const ORDERS: usize = 5;
/// At most 2⁵ partitions, each with a Rice parameter of its own.
const MAX_PARTITION_ORDER: u32 = 5;
/// The largest parameter of the four-bit kind; 15 would mean uncoded samples.
const MAX_PARAMETER: u32 = 14;
/// Samples whose differences are summed in 32 bits: 2²² each at the most.
const SUMMED: usize = 512;

/// The order of the fixed predictor that leaves the least, and about how many bits that takes.
pub(super) fn best_order(samples: &[i32]) -> (usize, u64) {
    let sums = difference_sums(samples);
    let order = (0..ORDERS.min(samples.len())).min_by_key(|&order| sums[order]).unwrap_or(0);
    (order, parameter(2 * sums[order], samples.len() as u64).1)
}

/// Sums of what each predictor leaves, from the fifth sample on.
fn difference_sums(samples: &[i32]) -> [u64; ORDERS] {
    let mut sums = [0; ORDERS];
    let mut from = ORDERS - 1;
    while from < samples.len() {
        let to = samples.len().min(from + SUMMED);
        let part = part_sums(&samples[from - (ORDERS - 1)..to]);
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += u64::from(part));
        from = to;
    }
    sums
}

#[inline]
fn part_sums(samples: &[i32]) -> [u32; ORDERS] {
    let mut sums = [0; ORDERS];
    for window in samples.array_windows::<ORDERS>() {
        let [e, d, c, b, a] = *window;
        sums[0] += a.unsigned_abs();
        sums[1] += (a - b).unsigned_abs();
        sums[2] += (a - 2 * b + c).unsigned_abs();
        sums[3] += (a - 3 * b + 3 * c - d).unsigned_abs();
        sums[4] += (a - 4 * b + 6 * c - 4 * d + e).unsigned_abs();
    }
    sums
}

/// What the predictor of `order` leaves, folded so that small values of either sign are small (0, -1, 1, -2, …).
fn fold_residual(samples: &[i32], order: usize, out: &mut Vec<u32>) {
    let fold = |value: i32| (value << 1 ^ value >> 31) as u32;
    out.clear();
    match order {
        0 => out.extend(samples.iter().map(|&a| fold(a))),
        1 => out.extend(samples.array_windows().map(|&[b, a]| fold(a - b))),
        2 => out.extend(samples.array_windows().map(|&[c, b, a]| fold(a - 2 * b + c))),
        3 => out.extend(samples.array_windows().map(|&[d, c, b, a]| fold(a - 3 * b + 3 * c - d))),
        _ => out.extend(samples.array_windows().map(|&[e, d, c, b, a]| fold(a - 4 * b + 6 * c - 4 * d + e))),
    }
}

/// How a residual is cut into partitions, and what that costs.
struct Plan {
    order: u32,
    parameters: [u32; 1 << MAX_PARTITION_ORDER],
    bits: u64,
}

impl Plan {
    /// The cheapest for a residual that lacks the first `order` samples of a block of `samples`.
    fn of(residual: &[u32], samples: usize, order: usize) -> Self {
        let mut level = finest(samples, order);
        let mut sums = partition_sums(residual, samples >> level, order);
        let mut best = Self::at(level, &sums, samples, order);
        while level > 0 {
            level -= 1;
            for index in 0..1 << level {
                sums[index] = sums[2 * index] + sums[2 * index + 1];
            }
            let plan = Self::at(level, &sums, samples, order);
            if plan.bits <= best.bits {
                best = plan;
            }
        }
        best
    }

    fn at(level: u32, sums: &[u64; 1 << MAX_PARTITION_ORDER], samples: usize, order: usize) -> Self {
        let mut plan = Self { order: level, parameters: [0; _], bits: 6 };
        for (index, &sum) in sums[..1 << level].iter().enumerate() {
            let count = (samples >> level) - if index == 0 { order } else { 0 };
            let (parameter, bits) = parameter(sum, count as u64);
            plan.parameters[index] = parameter;
            plan.bits += 4 + bits;
        }
        plan
    }
}

/// The most partitions that `samples` can be cut into evenly, each longer than the predictor's order.
fn finest(samples: usize, order: usize) -> u32 {
    let even = samples.trailing_zeros().min(MAX_PARTITION_ORDER);
    (0..=even).rev().find(|level| samples >> level > order).unwrap_or(0)
}

fn partition_sums(residual: &[u32], size: usize, order: usize) -> [u64; 1 << MAX_PARTITION_ORDER] {
    let mut sums = [0; 1 << MAX_PARTITION_ORDER];
    let (first, rest) = residual.split_at(size - order);
    let parts = std::iter::once(first).chain(rest.chunks(size));
    sums.iter_mut()
        .zip(parts)
        .for_each(|(sum, part)| *sum = part.iter().map(|&value| u64::from(value)).sum());
    sums
}

/// The best Rice parameter for `count` values of this sum, and at most how many bits they then take.
fn parameter(sum: u64, count: u64) -> (u32, u64) {
    let mean = sum / count.max(1);
    let guess = mean.checked_ilog2().unwrap_or(0);
    let cost = |parameter: u32| count * u64::from(parameter + 1) + (sum >> parameter);
    let near = guess.saturating_sub(1).min(MAX_PARAMETER)..=guess.min(MAX_PARAMETER);
    near.map(|parameter| (parameter, cost(parameter))).min_by_key(|&(_, bits)| bits).unwrap_or((0, cost(0)))
}

/// Writes the subframe of `samples`, each of `width` bits, predicted by `order`. `residual` is memory to use.
pub(super) fn subframe(samples: &[i32], width: u32, order: usize, residual: &mut Vec<u32>, bits: &mut Bits) {
    if samples.iter().all(|&sample| sample == samples[0]) {
        bits.put(0, 8); // constant
        return bits.put_signed(samples[0], width);
    }
    fold_residual(samples, order, residual);
    let plan = Plan::of(residual, samples.len(), order);
    if plan.bits + order as u64 * u64::from(width) >= samples.len() as u64 * u64::from(width) {
        bits.put(1 << 1, 8); // verbatim
        return samples.iter().for_each(|&sample| bits.put_signed(sample, width));
    }
    bits.put((8 | order as u32) << 1, 8);
    samples[..order].iter().for_each(|&sample| bits.put_signed(sample, width));
    bits.put(plan.order, 6); // parameters of four bits, then the partitions
    let size = samples.len() >> plan.order;
    let (first, rest) = residual.split_at(size - order);
    for (part, &parameter) in std::iter::once(first).chain(rest.chunks(size)).zip(&plan.parameters) {
        bits.put(parameter, 4);
        rice(part, parameter, bits);
    }
}

#[inline]
fn rice(values: &[u32], parameter: u32, bits: &mut Bits) {
    let mask = (1 << parameter) - 1;
    for &value in values {
        let (zeros, low) = (value >> parameter, value & mask);
        let length = zeros + 1 + parameter;
        if length <= 32 {
            bits.put(1 << parameter | low, length);
        } else {
            bits.put_unary(zeros);
            bits.put(low, parameter);
        }
    }
}
