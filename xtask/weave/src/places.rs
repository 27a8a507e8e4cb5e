//! Where in a file mutants can stand: for each kind of mutant and position, as cargo-mutants gives them, what to change there.
//!
//! Deliberately absent: constants and patterns. What the compiler itself evaluates cannot be switched later.

use std::{collections::HashMap, ops::Range};

use anyhow::{Context, Result};
use proc_macro2::{LineColumn, Span};
use syn::{
    Arm, BinOp, Block, Expr, ExprBinary, ExprMatch, ExprStruct, ExprUnary, ImplItemFn, ItemFn, Pat,
    Signature, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::Genre;

/// Byte offsets into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An expression, which becomes a choice between itself and a changed one.
    Expression(Range<usize>),
    /// The end of the pattern of an arm, which gets a guard.
    Pattern(usize),
    /// The beginning of a function's body, which may return at once.
    Body(usize),
}

/// A kind of mutant, and line and column of what it changes, both from 1.
type Key = (Genre, usize, usize);

#[derive(Default)]
pub(crate) struct Places(HashMap<Key, Place>);

impl Places {
    pub(crate) fn of(source: &str) -> Result<Places> {
        let mut places = Places::default();
        places.visit_file(&syn::parse_file(source).context("cannot parse")?);
        Ok(places)
    }

    pub(crate) fn find(&self, genre: Genre, line: usize, column: usize) -> Option<&Place> {
        self.0.get(&(genre, line, column))
    }

    fn insert(&mut self, genre: Genre, at: LineColumn, place: Place) {
        self.0.insert((genre, at.line, at.column + 1), place);
    }

    fn expression(&mut self, genre: Genre, changed: Span, whole: Span) {
        self.insert(genre, changed.start(), Place::Expression(whole.byte_range()));
    }

    /// Whether a function can be looked into: a constant one cannot read a switch.
    fn body(&mut self, signature: &Signature, block: &Block) -> bool {
        if signature.constness.is_some() {
            return false;
        }
        // An early return of another type than the body's is none where the type is only `impl Trait`.
        let returned = signature.output.span().source_text().unwrap_or_default();
        if let Some(first) = block.stmts.first().filter(|_| !returned.contains("impl ")) {
            let span = first.span();
            self.insert(Genre::FnValue, span.start(), Place::Body(span.byte_range().start));
        }
        true
    }
}

impl<'ast> Visit<'ast> for Places {
    fn visit_expr_binary(&mut self, expression: &'ast ExprBinary) {
        if !(matches!(expression.op, BinOp::And(_))
            && (has_let(&expression.left) || has_let(&expression.right)))
        {
            self.expression(Genre::BinaryOperator, expression.op.span(), expression.span());
        }
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_unary(&mut self, expression: &'ast ExprUnary) {
        self.expression(Genre::UnaryOperator, expression.op.span(), expression.span());
        visit::visit_expr_unary(self, expression);
    }

    fn visit_expr_match(&mut self, expression: &'ast ExprMatch) {
        // Only another arm that takes everything lets an arm have a guard that fails.
        let is_rest = |arm: &Arm| arm.guard.is_none() && matches!(arm.pat, Pat::Wild(_));
        let has_rest = expression.arms.iter().any(is_rest);
        for arm in &expression.arms {
            match &arm.guard {
                Some((_, guard)) if has_let(guard) => {}
                Some((_, guard)) => self.expression(Genre::MatchArmGuard, guard.span(), guard.span()),
                None if has_rest => {
                    let end = arm.pat.span().byte_range().end;
                    self.insert(Genre::MatchArm, arm.span().start(), Place::Pattern(end));
                }
                None => {}
            }
        }
        visit::visit_expr_match(self, expression);
    }

    fn visit_expr_struct(&mut self, expression: &'ast ExprStruct) {
        if expression.rest.is_some() {
            for field in &expression.fields {
                self.expression(Genre::StructField, field.span(), expression.span());
            }
        }
        visit::visit_expr_struct(self, expression);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if self.body(&function.sig, &function.block) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if self.body(&function.sig, &function.block) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if function.default.as_ref().is_some_and(|block| self.body(&function.sig, block)) {
            visit::visit_trait_item_fn(self, function);
        }
    }

    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }
}

/// Whether `let` is a part of a chain of conditions: such a chain cannot stand elsewhere.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}
