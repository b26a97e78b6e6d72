//! The order in which tasks start: each after those that it names in `after`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The order of a graph whose node `n` comes after the nodes `after[n]`: as given where nothing
/// speaks against it. Fails with the nodes of one circle, each after the one that follows it.
pub(super) fn start_order(after: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waits_for: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); after.len()];
    for (node, earlier) in after.iter().enumerate() {
        for &earlier in earlier {
            before[earlier].push(node);
        }
    }
    let free = (0..after.len()).filter(|&node| waits_for[node] == 0);
    let mut free: BinaryHeap<Reverse<usize>> = free.map(Reverse).collect();
    let mut order = Vec::with_capacity(after.len());
    while let Some(Reverse(node)) = free.pop() {
        order.push(node);
        for &later in &before[node] {
            waits_for[later] -= 1;
            if waits_for[later] == 0 {
                free.push(Reverse(later));
            }
        }
    }
    if order.len() == after.len() { Ok(order) } else { Err(circle(after, &waits_for)) }
}

/// Each node that still waits has one before it that still waits too: following them leads into a
/// circle.
fn circle(after: &[Vec<usize>], waits_for: &[usize]) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut seen: Vec<Option<usize>> = vec![None; after.len()];
    let mut next = waits_for.iter().position(|&count| count > 0);
    while let Some(node) = next {
        if let Some(start) = seen[node] {
            return path.split_off(start);
        }
        seen[node] = Some(path.len());
        path.push(node);
        next = after[node].iter().copied().find(|&earlier| waits_for[earlier] > 0);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_given_order_is_kept_where_it_can_be() {
        assert_eq!(start_order(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(start_order(&[vec![2], vec![], vec![]]), Ok(vec![1, 2, 0]));
        assert_eq!(start_order(&[vec![1, 2], vec![2], vec![]]), Ok(vec![2, 1, 0]));
    }

    #[test]
    fn a_circle_is_found() {
        assert_eq!(start_order(&[vec![0]]), Err(vec![0]));
        assert_eq!(start_order(&[vec![1], vec![2], vec![1], vec![]]), Err(vec![1, 2]));
    }

    #[test]
    fn a_long_chain_does_no_harm() {
        let chain: Vec<Vec<usize>> = (0..100_000).map(|n| vec![(n + 1) % 100_000]).collect();
        assert_eq!(start_order(&chain).map_err(|circle| circle.len()), Err(100_000));
    }
}
