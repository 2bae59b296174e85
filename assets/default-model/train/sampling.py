"""Draws pictures while training and judging: DDIM with trailing steps and classifier-free guidance, as the program does."""
import torch
from diffusers import DDIMScheduler

from fills import all_hole

# A linear schedule whose last step holds almost no signal, which plain backgrounds need.
BETAS = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", prediction_type="v_prediction")
GUIDANCE = 3.0
STEPS = 20


@torch.no_grad()
def draw(prompts, seeds, unet, text_encoder, vae, tokenizer, device: str, guidance: float = GUIDANCE) -> torch.Tensor:
    """(prompts, 3, size, size) in 0..1. The noise of a seed is that of torch on the processor."""
    unet.eval(), text_encoder.eval()
    sampler = DDIMScheduler(**BETAS, timestep_spacing="trailing", clip_sample=False)
    sampler.set_timesteps(STEPS)
    side = unet.config.sample_size
    noise = [torch.randn(4, side, side, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    ids = lambda texts: torch.tensor(tokenizer(list(texts), padding="max_length", truncation=True).input_ids, device=device)
    pictures = []
    for at in range(0, len(prompts), 64):
        x = torch.stack(noise[at:at + 64]).to(device)
        beside = all_hole(2 * len(x), unet, vae)
        text = text_encoder(torch.cat([ids([""] * len(x)), ids(prompts[at:at + 64])]))[0]
        for t in sampler.timesteps:
            without, given = unet(torch.cat([torch.cat([x, x]), beside], 1), t, text).sample.chunk(2)
            x = sampler.step(without + guidance * (given - without), t, x).prev_sample
        pictures.append((vae.decode(x / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1))
    unet.train(), text_encoder.train()
    return torch.cat(pictures)
