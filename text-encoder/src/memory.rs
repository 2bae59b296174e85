//! What a text encoder allocates: its forward pass with stand-ins for tensors.

use emberbrush_layers::memory::Trace;

use crate::config::ClipTextConfig;

impl ClipTextConfig {
    /// Follows [`crate::ClipTextModel::forward`] for one sequence of full length.
    pub fn trace(&self, trace: &Trace) {
        let hidden = self.hidden_size;
        let tokens = self.max_position_embeddings;
        let _hidden_states = trace.tensor([self.num_hidden_layers, hidden, tokens, 1]);
        let x = trace.tensor([1, hidden, tokens, 1]);
        let normed = trace.layer_norm(x.clone());
        let attended = trace.attention(normed.clone(), normed, hidden, self.num_attention_heads);
        let x = trace.add(x, attended);
        let inner = trace.linear(trace.layer_norm(x.clone()), self.intermediate_size);
        let inner = trace.activation(inner);
        trace.add(x, trace.linear(inner, hidden));
    }
}

#[cfg(test)]
mod tests {
    use emberbrush_layers::{attention::AttentionSlicing, memory::Kernels};

    use super::*;

    #[test]
    fn every_hidden_state_is_kept() {
        let peak = |num_hidden_layers| {
            let config =
                ClipTextConfig { hidden_size: 768, num_hidden_layers, ..ClipTextConfig::default() };
            let trace = Trace::new(Kernels::Cpu { threads: 2 }, 4, AttentionSlicing::Off);
            config.trace(&trace);
            trace.peak()
        };
        let state = 768 * 77 * 4;
        assert_eq!(peak(13) - peak(12), state);
        assert!(peak(12) > 12 * state);
    }
}
