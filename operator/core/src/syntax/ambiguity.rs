//! How many ways an expression has to match one text, which is how long a backtracking matcher can take.
//!
//! An expression is exponential if some state of its automaton reaches itself over one word in two ways
//! (Weber and Seidl, "On the degree of ambiguity of finite automata", criterion EDA). To find that, two copies of
//! the automaton read the same word: they start in one state, part, and come together again in the same loop.

use std::collections::{BTreeMap, BTreeSet};

use regex_automata::{
    nfa::thompson::{NFA, State, Transition},
    util::primitives::StateID,
};

/// How the number of ways to match a text grows with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ambiguity {
    /// As a polynomial at most.
    Bounded,
    /// Exponentially.
    Exponential,
    /// Unknown, as finding out would take too long.
    TooLarge,
}

/// States that consume a byte; more take too long to look at.
const POSITION_LIMIT: usize = 2_000;
/// Pairs of positions that are looked at.
const PAIR_LIMIT: usize = 50_000;
/// Steps between positions that are looked at.
const STEP_LIMIT: usize = 500_000;

/// The ambiguity of an expression's automaton.
pub(super) fn of(nfa: &NFA) -> Ambiguity {
    let Some(positions) = positions(nfa) else {
        return Ambiguity::TooLarge;
    };
    let components = components(&positions);
    let in_loop = |from: usize, to: usize| components[from] == components[to];
    let mut loops = vec![Vec::new(); positions.len()];
    for (from, position) in positions.iter().enumerate() {
        for (&to, &ways) in &position.next {
            if in_loop(from, to) {
                if ways > 1 {
                    return Ambiguity::Exponential;
                }
                loops[from].push(to);
            }
        }
    }
    parting_and_meeting(&positions, &loops)
}

/// A place in the expression where a byte is consumed.
struct Position {
    bytes: [u64; 4],
    /// Positions that can consume the byte after, with the number of ways to get there, counted up to two.
    next: BTreeMap<usize, u8>,
}

impl Position {
    fn shares_a_byte_with(&self, other: &Self) -> bool {
        self.bytes
            .iter()
            .zip(other.bytes)
            .any(|(left, right)| left & right != 0)
    }
}

/// The automaton without its empty steps.
fn positions(nfa: &NFA) -> Option<Vec<Position>> {
    // Positions by state and target: a state with several targets is one position for each.
    let mut bytes = BTreeMap::<(StateID, StateID), [u64; 4]>::new();
    for (id, state) in nfa.states().iter().enumerate() {
        let id = StateID::new(id).ok()?;
        for Transition { start, end, next } in transitions(state) {
            let set = bytes.entry((id, next)).or_default();
            for byte in start..=end {
                set[usize::from(byte / 64)] |= 1 << (byte % 64);
            }
        }
    }
    if bytes.len() > POSITION_LIMIT {
        return None;
    }
    let numbers = bytes.keys().enumerate().map(|(number, key)| (*key, number));
    let numbers = numbers.collect::<BTreeMap<_, _>>();
    let mut positions = Vec::with_capacity(bytes.len());
    let mut steps = 0;
    for (&(_, target), &bytes) in &bytes {
        let mut next = BTreeMap::new();
        for (state, ways) in ways_without_a_byte(nfa, target) {
            for (_, &number) in numbers.range((state, StateID::ZERO)..=(state, StateID::MAX)) {
                next.insert(number, ways);
                steps += 1;
            }
        }
        if steps > STEP_LIMIT {
            return None;
        }
        positions.push(Position { bytes, next });
    }
    Some(positions)
}

fn transitions(state: &State) -> Vec<Transition> {
    match state {
        State::ByteRange { trans } => vec![*trans],
        State::Sparse(sparse) => sparse.transitions.to_vec(),
        State::Dense(dense) => (u8::MIN..=u8::MAX)
            .zip(dense.transitions.iter())
            .filter(|(_, next)| **next != StateID::ZERO)
            .map(|(byte, &next)| Transition {
                start: byte,
                end: byte,
                next,
            })
            .collect(),
        State::Look { .. }
        | State::Union { .. }
        | State::BinaryUnion { .. }
        | State::Capture { .. }
        | State::Fail
        | State::Match { .. } => Vec::new(),
    }
}

fn empty_steps(state: &State) -> Vec<StateID> {
    match state {
        State::Look { next, .. } | State::Capture { next, .. } => vec![*next],
        State::Union { alternates } => alternates.to_vec(),
        State::BinaryUnion { alt1, alt2 } => vec![*alt1, *alt2],
        State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Fail | State::Match { .. } => {
            Vec::new()
        }
    }
}

/// States that empty steps lead to, with the number of ways, counted up to two.
///
/// A state is walked through at most twice, so loops of empty steps end.
fn ways_without_a_byte(nfa: &NFA, start: StateID) -> BTreeMap<StateID, u8> {
    let mut ways = BTreeMap::<StateID, u8>::new();
    let mut waiting = vec![start];
    while let Some(state) = waiting.pop() {
        let count = ways.entry(state).or_default();
        if *count < 2 {
            *count += 1;
            waiting.extend(empty_steps(nfa.state(state)));
        }
    }
    ways
}

/// The number of the loop that each position is part of: two have the same if each can follow the other.
fn components(positions: &[Position]) -> Vec<usize> {
    let forward = positions
        .iter()
        .map(|position| position.next.keys().copied().collect::<Vec<_>>());
    let forward = forward.collect::<Vec<_>>();
    let mut backward = vec![Vec::new(); positions.len()];
    for (from, next) in forward.iter().enumerate() {
        for &to in next {
            backward[to].push(from);
        }
    }
    // Kosaraju's algorithm: what is left last going forward is gathered first going backward.
    let mut seen = vec![false; positions.len()];
    let mut order = Vec::with_capacity(positions.len());
    for start in 0..positions.len() {
        let mut waiting = vec![(start, false)];
        while let Some((position, left)) = waiting.pop() {
            if left {
                order.push(position);
            } else if !std::mem::replace(&mut seen[position], true) {
                waiting.push((position, true));
                waiting.extend(forward[position].iter().map(|&to| (to, false)));
            }
        }
    }
    let mut component = vec![usize::MAX; positions.len()];
    for &start in order.iter().rev() {
        let mut waiting = vec![start];
        while let Some(position) = waiting.pop() {
            if component[position] == usize::MAX {
                component[position] = start;
                waiting.extend(&backward[position]);
            }
        }
    }
    component
}

/// Looks for two readings of one word that part within a loop and meet again in it.
fn parting_and_meeting(positions: &[Position], loops: &[Vec<usize>]) -> Ambiguity {
    let mut before = BTreeMap::<(usize, usize), Vec<(usize, usize)>>::new();
    let mut waiting = (0..positions.len())
        .filter(|&position| !loops[position].is_empty())
        .map(|position| (position, position))
        .collect::<Vec<_>>();
    let together = waiting.clone();
    let mut seen = waiting.iter().copied().collect::<BTreeSet<_>>();
    let mut steps = 0;
    while let Some((left, right)) = waiting.pop() {
        for &next_left in &loops[left] {
            for &next_right in &loops[right] {
                steps += 1;
                if !positions[next_left].shares_a_byte_with(&positions[next_right]) {
                    continue;
                }
                before
                    .entry((next_left, next_right))
                    .or_default()
                    .push((left, right));
                if seen.insert((next_left, next_right)) {
                    waiting.push((next_left, next_right));
                }
            }
        }
        if seen.len() > PAIR_LIMIT || steps > STEP_LIMIT {
            return Ambiguity::TooLarge;
        }
    }
    let mut meeting = BTreeSet::new();
    let mut waiting = together;
    while let Some(pair) = waiting.pop() {
        if meeting.insert(pair) {
            if pair.0 != pair.1 {
                return Ambiguity::Exponential;
            }
            waiting.extend(before.get(&pair).into_iter().flatten());
        }
    }
    Ambiguity::Bounded
}
