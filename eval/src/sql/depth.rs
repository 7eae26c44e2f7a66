//! Measures the depth of a query, before it is parsed.
//!
//! Parsers and planners go down into expressions and subqueries by recursion, and 10,000 levels end the process:
//! a stack that overflows is not an error. A sum is as deep as it has terms. So the tokens of a query are looked at
//! first, which needs no stack, and give a bound: operators in a row at each level of brackets, and the tables
//! and queries that a plan joins.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::{Error, Result};

/// The most that is tried: half of what the 2 MiB stack of a thread holds.
const DEEPEST: usize = 400;

/// Refuses what is too deep. What is not SQL is left to the parser.
///
/// # Errors
/// [`Error::Deep`].
pub(crate) fn check(sql: &str) -> Result<()> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else {
        return Ok(());
    };
    let mut depth = Depth::default();
    for token in &tokens {
        depth.see(token);
        if depth.bound() > DEEPEST {
            return Err(Error::Deep { deepest: DEEPEST });
        }
    }
    Ok(())
}

/// Brackets, or a CASE.
#[derive(Default)]
struct Level {
    /// Operators since the last comma or clause.
    operators: usize,
    is_case: bool,
    /// Whether commas join tables.
    in_from: bool,
}

#[derive(Default)]
struct Depth {
    /// Levels around the present one.
    outer: Vec<Level>,
    present: Level,
    /// Operators of the outer levels, and one for each of them.
    around: usize,
    /// Queries and joined tables.
    inputs: usize,
    /// After an operator a word is a name, whatever it means elsewhere.
    after_operator: bool,
}

impl Depth {
    fn bound(&self) -> usize {
        (self.around + self.present.operators).max(self.inputs)
    }

    fn see(&mut self, token: &Token) {
        let before = self.present.operators;
        match token {
            Token::Whitespace(_) => return,
            Token::LParen | Token::LBracket | Token::LBrace => self.open(false),
            Token::RParen | Token::RBracket | Token::RBrace => self.close_brackets(),
            Token::Comma if self.present.in_from => self.inputs += 1,
            Token::Comma | Token::SemiColon => self.present.operators = 0,
            Token::Word(word) => self.keyword(word.keyword),
            Token::Period | Token::EOF => {}
            Token::Number(..) | Token::SingleQuotedString(_) => {}
            _ => self.present.operators += 1,
        }
        self.after_operator = self.present.operators > before;
    }

    fn keyword(&mut self, keyword: Keyword) {
        use Keyword::{
            AND, BETWEEN, CASE, CROSS, DIV, ELSE, END, FROM, GROUP, HAVING, ILIKE, IN, IS, JOIN,
            LIKE, LIMIT, NOT, OR, ORDER, QUALIFY, SELECT, TABLE, THEN, VALUES, WHEN, WHERE, XOR,
        };
        match keyword {
            AND | BETWEEN | DIV | ILIKE | IN | IS | LIKE | NOT | OR | XOR => {
                self.present.operators += 1;
            }
            CASE => self.open(true),
            END if self.present.is_case => self.close(),
            CROSS | JOIN => self.inputs += 1,
            SELECT | TABLE | VALUES => {
                self.inputs += 1;
                self.clause(false);
            }
            FROM => self.clause(true),
            GROUP | HAVING | LIMIT | ORDER | QUALIFY | WHERE => self.clause(false),
            ELSE | THEN | WHEN if self.present.is_case => self.clause(false),
            _ => {}
        }
    }

    fn clause(&mut self, in_from: bool) {
        if !self.after_operator {
            self.present.operators = 0;
            self.present.in_from = in_from;
        }
    }

    fn open(&mut self, is_case: bool) {
        self.around += self.present.operators + 1;
        let inner = Level {
            is_case,
            ..Level::default()
        };
        self.outer.push(std::mem::replace(&mut self.present, inner));
    }

    fn close_brackets(&mut self) {
        while self.present.is_case {
            self.close();
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some(outer) = self.outer.pop() {
            self.around -= outer.operators + 1;
            self.present = outer;
            // `f(x)(y)`, `a[1][2]` go down a level for each.
            self.present.operators += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_deep(sql: &str) -> bool {
        check(sql).is_err()
    }

    #[test]
    fn long_is_not_deep() {
        let columns = vec!["(a + 1) * 2 AS b"; 5000].join(", ");
        assert!(!is_deep(&format!("SELECT {columns} FROM t")));
        let names = vec!["'run'"; 50_000].join(", ");
        assert!(!is_deep(&format!(
            "SELECT * FROM t WHERE run IN ({names}) AND a"
        )));
        let cases = "WHEN a = 1 AND b = 2 THEN a + b ".repeat(1000);
        assert!(!is_deep(&format!("SELECT CASE {cases}ELSE 0 END FROM t")));
        assert!(!is_deep(&"SELECT 1 + 1 FROM t; ".repeat(100)));
        assert!(!is_deep(&format!("SELECT {}1", "1 + ".repeat(300))));
        // No SQL at all is the parser's.
        assert!(!is_deep("SELECT 'open"));
    }

    #[test]
    fn what_goes_down_is_deep() {
        for part in [
            "1 + ",
            "- ",
            "NOT ",
            "(",
            "a AND ",
            "CASE WHEN a THEN ",
            "abs(",
        ] {
            assert!(
                is_deep(&format!("SELECT {}1", part.repeat(10_000))),
                "{part}"
            );
        }
        for part in [
            " IS NULL",
            "::INT",
            "[1]",
            " + CASE WHEN a THEN 1 END",
            " + f(b)",
        ] {
            assert!(
                is_deep(&format!("SELECT a{}", part.repeat(10_000))),
                "{part}"
            );
        }
        for part in [
            " UNION SELECT 1",
            " UNION TABLE t",
            ", t",
            " JOIN t ON a + b",
        ] {
            assert!(
                is_deep(&format!("SELECT 1 FROM t{}", part.repeat(10_000))),
                "{part}"
            );
        }
        let tables: String = (0..1000)
            .map(|i| format!(", t{} AS (SELECT * FROM t{i})", i + 1))
            .collect();
        assert!(is_deep(&format!(
            "WITH t0 AS (SELECT 1){tables} SELECT * FROM t1000"
        )));
    }
}
