//! Scaled dot-product attention over several heads.

use burn::tensor::{Tensor, module, ops::AttentionModuleOptions};

/// Which keys a query may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// All of them.
    All,
    /// Those at its own position and before.
    Causal,
}

/// `softmax(Q Kᵀ / √d) V`, head by head (Vaswani et al. 2017, equation 1).
///
/// # Shapes
///
/// - query: `[batch, queries, heads · head_dim]`
/// - key, value: `[batch, keys, heads · head_dim]`
/// - output: `[batch, queries, heads · head_dim]`
pub fn multi_head_attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    visibility: Visibility,
) -> Tensor<3> {
    let [batch, queries, channels] = query.dims();
    let split = |x: Tensor<3>| {
        let [batch, tokens, channels] = x.dims();
        x.reshape([batch, tokens, heads, channels / heads]).swap_dims(1, 2)
    };
    let options = AttentionModuleOptions {
        scale: None,
        softcap: None,
        is_causal: visibility == Visibility::Causal,
    };
    module::attention(split(query), split(key), split(value), None, None, options)
        .swap_dims(1, 2)
        .reshape([batch, queries, channels])
}
