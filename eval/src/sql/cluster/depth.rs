//! Measures the depth of the expressions in a message, before they are decoded.
//!
//! Protocol buffers are read to a depth of 100 messages. But a chain of operators, such as a sum, is one message
//! with a list of operands, and becomes an expression as deep as the list is long, through which planning goes
//! by recursion: some thousand terms are the end of a thread's stack, and with it of the process.

use super::reach::PlanRefusal;

/// Operators above one another. Executors of Ballista evaluate on threads of 2 MB, and one operator of a thousand
/// takes less than 1 KB of it.
pub(super) const LIMIT: usize = 500;

/// Messages within one another that are looked at; readers of protocol buffers give up far before.
const NESTED: usize = 256;

/// The field of an operator's name, in logical and in physical expressions.
const OPERATOR: u64 = 3;

/// The fields of its operands, in logical and in physical expressions.
const OPERANDS: [u64; 2] = [1, 4];

/// Longer than any operator's name.
const LONGEST_NAME: usize = 32;

/// Refuses a message with too deep an expression.
///
/// It knows no schema: what could be a message is taken for one. So it can only think too much of a plan, and only of
/// one with lists of that length.
pub(super) fn check(message: &[u8]) -> Result<(), PlanRefusal> {
    match depth(message, NESTED).unwrap_or(0) > LIMIT {
        true => Err(PlanRefusal::Depth { limit: LIMIT }),
        false => Ok(()),
    }
}

/// The depth below a message; nothing if the bytes are none.
fn depth(mut bytes: &[u8], nested: usize) -> Option<usize> {
    let nested = nested.checked_sub(1)?;
    let (mut deepest, mut is_named, mut operands) = (0, false, [0; 2]);
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let skipped = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            5 => 4,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = bytes.get(..length)?;
                deepest = deepest.max(depth(inner, nested).unwrap_or(0));
                is_named |= key >> 3 == OPERATOR && length <= LONGEST_NAME;
                for (field, count) in OPERANDS.iter().zip(&mut operands) {
                    *count += usize::from(key >> 3 == *field);
                }
                length
            }
            _ => return None,
        };
        bytes = bytes.get(skipped..)?;
    }
    let row = operands.into_iter().max().unwrap_or(0);
    Some(deepest + if is_named { row.max(1) } else { 0 })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use datafusion::logical_expr::{Expr, lit};
    use datafusion::prelude::col;
    use datafusion_proto::bytes::Serializeable as _;

    use super::*;

    fn sum(terms: usize) -> Expr {
        (1..terms).fold(col("a"), |sum, _| sum + col("a"))
    }

    fn depth_of(expression: &Expr) -> usize {
        depth(&expression.to_bytes().unwrap(), NESTED).unwrap()
    }

    #[test]
    fn a_chain_is_as_deep_as_it_is_long_and_a_list_is_not() {
        assert!((100..110).contains(&depth_of(&sum(100))));
        let nested = (sum(100) * lit(2)).eq(sum(100));
        assert!((100..120).contains(&depth_of(&nested)));
        let inner = (sum(100) * lit(2)) + sum(10);
        assert!(depth_of(&(0..100).fold(inner, |sum, _| sum + lit(1))) >= 200);
        let list = col("a").in_list((0..5000).map(lit).collect(), false);
        assert!(depth_of(&list) < 20, "{}", depth_of(&list));
        assert!(check(&sum(LIMIT - 20).to_bytes().unwrap()).is_ok());
        assert!(check(&sum(LIMIT + 1).to_bytes().unwrap()).is_err());
    }

    #[test]
    fn any_bytes_have_an_answer() {
        let text = "SELECT 'a' || repeat('long', 3)".repeat(50);
        assert!(check(text.as_bytes()).is_ok());
        assert!(check(&[0x0a; 4096]).is_ok());
        assert!(check(&[0xff; 64]).is_ok());
        // Messages of nothing but one message, deeper than a stack.
        let nested = (0..20_000).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut outer = vec![0x0a];
            let mut length = inner.len();
            while length >= 0x80 {
                outer.push(length as u8 | 0x80);
                length >>= 7;
            }
            outer.push(length as u8);
            [outer, inner].concat()
        });
        assert!(check(&nested).is_ok());
    }
}
