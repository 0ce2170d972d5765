//! Where each speaker sits in a stereo picture.

use std::f32::consts::FRAC_PI_4;

use super::plan::Sides;

/// Words in a participant's name that put it on the left.
const LEFT: [&str; 3] = ["caller", "customer", "user"];
/// Words in a participant's name that put it on the right.
const RIGHT: [&str; 3] = ["agent", "assistant", "bot"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Gains to the left and to the right of each participant, in the order they joined. The first on a side sits
/// all the way out; others sit between there and the middle, at constant power, no two at one place.
pub(super) fn seats(participants: &[&str], asked: &Sides) -> Vec<(f32, f32)> {
    let sides = sides(participants, asked);
    let count = |side| sides.iter().filter(|&&other| other == side).count();
    let (left, right) = (count(Side::Left), count(Side::Right));
    let (mut on_left, mut on_right) = (0, 0);
    let seat = |side: &Side| match side {
        Side::Left => outward(next(&mut on_left), left),
        Side::Right => {
            let (near, far) = outward(next(&mut on_right), right);
            (far, near)
        }
    };
    sides.iter().map(seat).collect()
}

fn next(count: &mut usize) -> usize {
    *count += 1;
    *count - 1
}

/// Gains on its own side and on the other one of the speaker with this number among those of a side.
fn outward(number: usize, speakers: usize) -> (f32, f32) {
    if number == 0 {
        return (1.0, 0.0);
    }
    let angle = FRAC_PI_4 * number as f32 / speakers as f32;
    (angle.cos(), angle.sin())
}

/// As asked; else by role; else where there are fewer, the left first.
fn sides(participants: &[&str], asked: &Sides) -> Vec<Side> {
    let mut sides: Vec<_> = participants.iter().map(|name| explicit(name, asked).or(by_role(name))).collect();
    for index in 0..sides.len() {
        if sides[index].is_none() {
            let count = |side| sides.iter().filter(|&&other| other == Some(side)).count();
            let fewer = if count(Side::Left) <= count(Side::Right) { Side::Left } else { Side::Right };
            sides[index] = Some(fewer);
        }
    }
    sides.into_iter().flatten().collect()
}

fn explicit(name: &str, asked: &Sides) -> Option<Side> {
    let named = |names: &[String]| names.iter().any(|other| other == name);
    match (named(&asked.left), named(&asked.right)) {
        (true, _) => Some(Side::Left),
        (false, true) => Some(Side::Right),
        (false, false) => None,
    }
}

/// By a word in the name; a name with words of both sides says nothing.
fn by_role(name: &str) -> Option<Side> {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match (has(&LEFT), has(&RIGHT)) {
        (true, false) => Some(Side::Left),
        (false, true) => Some(Side::Right),
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARD_LEFT: (f32, f32) = (1.0, 0.0);
    const HARD_RIGHT: (f32, f32) = (0.0, 1.0);

    fn by_name(participants: &[&str]) -> Vec<(f32, f32)> {
        seats(participants, &Sides::default())
    }

    #[test]
    fn roles_come_before_the_order_of_joining() {
        assert_eq!(by_name(&["Agent-7", "caller"]), [HARD_RIGHT, HARD_LEFT]);
        assert_eq!(by_name(&["voicebot", "+4930123"]), [HARD_RIGHT, HARD_LEFT]);
        assert_eq!(by_name(&["anna", "Customer 1"]), [HARD_RIGHT, HARD_LEFT]);
    }

    #[test]
    fn without_roles_the_first_sits_left_and_the_second_right() {
        assert_eq!(by_name(&["anna", "ben"]), [HARD_LEFT, HARD_RIGHT]);
        assert_eq!(by_name(&["user-agent", "agent-user"]), [HARD_LEFT, HARD_RIGHT]);
    }

    #[test]
    fn what_is_asked_comes_before_roles() {
        let asked = Sides { left: vec!["agent".into()], right: vec!["caller".into()] };
        assert_eq!(seats(&["caller", "agent"], &asked), [HARD_RIGHT, HARD_LEFT]);
    }

    #[test]
    fn a_crowd_sits_at_distinct_places_each_on_its_side_at_constant_power() {
        let seats = by_name(&["a", "b", "c", "d", "e", "f", "g"]);
        for (index, &(left, right)) in seats.iter().enumerate() {
            assert!((left * left + right * right - 1.0).abs() < 1e-6, "power of {index}");
            assert_eq!(left > right, index % 2 == 0, "side of {index}");
            assert!(seats[..index].iter().all(|&(other, _)| (other - left).abs() > 0.01), "place of {index}");
        }
    }
}
