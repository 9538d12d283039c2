//! The function in docs/PROTECTING.md is the one that is compiled.

#[test]
fn the_documented_function_is_the_example() {
    let document = include_str!("../../../docs/PROTECTING.md");
    let block = document.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(block, Some(include_str!("../examples/orders.rs")));
}
