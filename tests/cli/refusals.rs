//! What is refused as a checkpoint, word for word as the table in `docs/models.md` has it: for each
//! row files are made, and the program is run with them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::{
    fs,
    path::{Path, PathBuf},
};

use emberbrush_tests::{
    CheckpointFolder, checkpoint,
    single_file::{
        ONE, StoredTensor, Tensors, read_safetensors, single_file_tensors, write_hollow,
        write_safetensors, write_torch_dictionary,
    },
};
use program::{Workshop, text};
use safetensors::Dtype;
use serde_json::{Value, json};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// The tensor that the page gives as an example.
const EXAMPLE: &str = "model.diffusion_model.out.2.weight";

/// Makes what is given in place of a checkpoint.
type Make = fn(&Workshop) -> Vec<Given>;

/// The first column of each row, and what is given for it.
const ROWS: &[(&str, Make)] = &[
    ("nothing there", |workshop| vec![Given::at(workshop.path("nothing"))]),
    ("a folder that is no checkpoint", |workshop| {
        fs::create_dir(workshop.path("empty")).unwrap();
        vec![Given::at(workshop.path("empty"))]
    }),
    ("a folder of another pipeline", |_| {
        vec![Given::folder(|folder| {
            let index = r#"{"_class_name": "FluxPipeline"}"#;
            fs::write(folder.join("model_index.json"), index).unwrap();
        })]
    }),
    (
        "a file of Flux, Stable Diffusion 3, PixArt, Stable Cascade, Stable Video Diffusion, \
         AuraFlow, Hunyuan-DiT, Lumina, Qwen-Image or Wan, each by its name",
        other_families,
    ),
    (
        "a file of Stable Diffusion 2 depth, of Stable unCLIP, of the Stable Diffusion upscaler, of \
         InstructPix2Pix or a model that edits by instruction, each by its name",
        other_unets,
    ),
    ("the same in a folder", |_| {
        vec![Given::folder(|folder| {
            let path = folder.join("unet/config.json");
            let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            config["in_channels"] = json!(5);
            fs::write(path, config.to_string()).unwrap();
        })]
    }),
    ("a file with shapes of no published family", |workshop| {
        vec![Given::tensors(workshop, "tiny", &tiny())]
    }),
    ("weights in fp8", in_fp8),
    ("weights in 4 bits (bitsandbytes)", |workshop| {
        let name = "model.diffusion_model.out.2.weight.quant_state.bitsandbytes__nf4";
        vec![Given::named(workshop, name)]
    }),
    ("GGUF", |workshop| {
        fs::write(workshop.path("model.gguf"), b"GGUF\x03\0\0\0").unwrap();
        vec![Given::at(workshop.path("model.gguf"))]
    }),
    ("LoRA, LoHa, LoKr", |workshop| {
        let names = [
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight",
            "unet.down_blocks.0.attentions.0.proj_in.lora_A.weight",
            "unet.down_blocks.0.attentions.0.proj_in.lora_B.weight",
            "unet.down_blocks.0.attentions.0.proj_in.lora.down.weight",
            "lora_unet_down_blocks_0_attentions_0_proj_in.hada_w1_a",
            "lora_unet_down_blocks_0_attentions_0_proj_in.lokr_w1",
        ];
        names.map(|name| Given::named(workshop, name)).into()
    }),
    ("a textual inversion", |workshop| {
        let path = workshop.path("embedding.pt");
        let tensors = Tensors::from([("*".to_owned(), one())]);
        write_torch_dictionary(&path, Some("string_to_param"), &tensors);
        let named = ["emb_params", "clip_l"].map(|name| Given::named(workshop, name));
        named.into_iter().chain([Given::at(path)]).collect()
    }),
    ("a ControlNet", |workshop| {
        let names =
            ["control_model.input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"];
        names.map(|name| Given::named(workshop, name)).into()
    }),
    ("a motion module", |workshop| {
        vec![Given::named(workshop, "down_blocks.0.motion_modules.0.norm.weight")]
    }),
    ("an upscaler", |workshop| {
        let names = ["model.1.sub.0.RDB1.conv1.0.weight", "body.0.rdb1.conv1.weight"];
        names.map(|name| Given::named(workshop, name)).into()
    }),
    ("a UNet alone", |workshop| {
        let names = ["down_blocks.0.resnets.0.conv1.weight", "input_blocks.0.0.weight"];
        names.map(|name| Given::named(workshop, name)).into()
    }),
    ("an autoencoder alone", |workshop| {
        let names = [
            "decoder.conv_in.weight",
            "encoder.conv_in.weight",
            "first_stage_model.decoder.conv_in.weight",
        ];
        names.map(|name| Given::named(workshop, name)).into()
    }),
    ("a text encoder alone", |workshop| {
        vec![Given::named(workshop, "text_model.final_layer_norm.weight")]
    }),
    ("a file without an autoencoder", |workshop| vec![lacking(workshop, "first_stage_model.")]),
    ("a file without a text encoder", |workshop| vec![lacking(workshop, "cond_stage_model.")]),
    ("a file with half a UNet", |workshop| vec![Given::named(workshop, EXAMPLE)]),
    ("anything else in safetensors", |workshop| vec![Given::named(workshop, "something.else")]),
    ("a pickle with code", |workshop| {
        let mut code =
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
        code.extend(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.");
        fs::write(workshop.path("model.ckpt"), code).unwrap();
        vec![Given::at(workshop.path("model.ckpt"))]
    }),
    ("a damaged pickle", |workshop| {
        fs::write(workshop.path("model.ckpt"), b"PK\x03\x04 and no more").unwrap();
        vec![Given::at(workshop.path("model.ckpt"))]
    }),
    ("any other file, and damaged safetensors", |workshop| {
        fs::write(workshop.path("note.txt"), "Dear reader").unwrap();
        let cut = Given::folder(|folder| {
            let whole = fs::read(folder.join(UNET)).unwrap();
            fs::write(folder.join(UNET), &whole[..whole.len() / 2]).unwrap();
        });
        vec![Given::at(workshop.path("note.txt")), cut]
    }),
];

/// What the program is given.
struct Given {
    path: PathBuf,
    config: Option<CheckpointFolder>,
    /// A word of the documented message, and what stands in its place here.
    instead: Option<(&'static str, &'static str)>,
    /// Keeps a folder at `path` for so long.
    _folder: Option<CheckpointFolder>,
}

impl Given {
    fn at(path: PathBuf) -> Self {
        Self { path, config: None, instead: None, _folder: None }
    }

    /// A safetensors file.
    fn tensors(workshop: &Workshop, stem: &str, tensors: &Tensors) -> Self {
        let path = workshop.path(&format!("{stem}.safetensors"));
        write_safetensors(&path, tensors);
        Self::at(path)
    }

    /// A safetensors file with one tensor of this name.
    fn named(workshop: &Workshop, name: &str) -> Self {
        Self::tensors(workshop, name, &Tensors::from([(name.to_owned(), one())]))
    }

    /// A tiny checkpoint after a change.
    fn folder(change: impl FnOnce(&Path)) -> Self {
        let folder = checkpoint("sd15-tiny");
        change(&folder);
        let path = folder.to_path_buf();
        Self { _folder: Some(folder), ..Self::at(path) }
    }

    fn instead_of(self, documented: &'static str, here: &'static str) -> Self {
        Self { instead: Some((documented, here)), ..self }
    }
}

fn one() -> StoredTensor {
    StoredTensor::of_f16(&[1], [ONE])
}

/// The tensors of a whole single file with shapes of its own.
fn tiny() -> Tensors {
    single_file_tensors("sd15-tiny", &checkpoint("sd15-tiny"))
}

/// One without the tensors whose names begin so, and the configurations that it needs.
fn lacking(workshop: &Workshop, begin: &str) -> Given {
    let mut tensors = tiny();
    tensors.retain(|name, _| !name.starts_with(begin));
    let config = Some(checkpoint("sd15-tiny"));
    Given { config, ..Given::tensors(workshop, begin, &tensors) }
}

fn other_families(workshop: &Workshop) -> Vec<Given> {
    [
        ("double_blocks.0.img_attn.qkv.weight", "Flux"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "Flux"),
        ("single_transformer_blocks.0.attn.to_q.weight", "Flux"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"),
        ("transformer_blocks.0.norm1_context.linear.weight", "Stable Diffusion 3"),
        ("adaln_single.linear.weight", "PixArt"),
        ("effnet_mapper.0.weight", "Stable Cascade"),
        ("clip_txt_pooled_mapper.weight", "Stable Cascade"),
        (
            "model.diffusion_model.input_blocks.1.1.time_stack.0.norm1.weight",
            "Stable Video Diffusion",
        ),
        ("double_layers.0.attn.w1q.weight", "AuraFlow"),
        ("joint_transformer_blocks.0.norm1_context.linear.weight", "AuraFlow"),
        ("mlp_t5.0.weight", "Hunyuan-DiT"),
        ("cap_embedder.0.weight", "Lumina"),
        ("transformer_blocks.0.img_mod.1.weight", "Qwen-Image"),
        ("patch_embedding.weight", "Wan"),
    ]
    .map(|(tensor, name)| Given::named(workshop, tensor).instead_of("Flux", name))
    .into()
}

fn other_unets(workshop: &Workshop) -> Vec<Given> {
    let made = |stem: &str, name: &'static str, key: &str, shape: &[usize]| {
        let path = workshop.path(&format!("{stem}.safetensors"));
        write_hollow(&path, "sd21", &Tensors::new(), |tensors| {
            tensors.insert(format!("model.diffusion_model.{key}"), shape.to_vec());
        });
        Given::at(path).instead_of("Stable Diffusion 2 depth", name)
    };
    let of_channels =
        |stem, name, channels| made(stem, name, "input_blocks.0.0.weight", &[320, channels, 3, 3]);
    vec![
        of_channels("depth", "Stable Diffusion 2 depth", 5),
        of_channels("upscaler", "the Stable Diffusion upscaler", 7),
        of_channels("pix2pix", "InstructPix2Pix or a model that edits by instruction", 8),
        made("unclip", "Stable unCLIP", "label_emb.0.0.weight", &[1280, 2048]),
    ]
}

/// A safetensors file, a pickle, and a folder.
fn in_fp8(workshop: &Workshop) -> Vec<Given> {
    let halve = |tensors: &mut Tensors, name: &str| {
        let tensor = tensors.get_mut(name).unwrap();
        tensor.dtype = Dtype::F8_E4M3;
        tensor.bytes.truncate(tensor.shape.iter().product());
    };
    let mut tensors = tiny();
    halve(&mut tensors, EXAMPLE);
    let file = Given::tensors(workshop, "fp8", &tensors);
    let pickle = workshop.path("fp8.ckpt");
    let example = Tensors::from([(EXAMPLE.to_owned(), tensors[EXAMPLE].clone())]);
    write_torch_dictionary(&pickle, Some("state_dict"), &example);
    let folder = Given::folder(|folder| {
        let mut unet = read_safetensors(&folder.join(UNET));
        halve(&mut unet, "conv_out.weight");
        write_safetensors(&folder.join(UNET), &unet);
    });
    vec![file, Given::at(pickle), folder.instead_of(EXAMPLE, "conv_out.weight")]
}

/// The rows of the table: what is refused, and the message.
fn documented() -> Vec<(String, String)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/models.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("## What is refused\n").unwrap();
    let rows = table.lines().filter_map(|line| {
        let (what, message) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        message.starts_with('`').then(|| (what.to_owned(), message.trim_matches('`').to_owned()))
    });
    rows.collect()
}

/// What the program says of a file after its name.
fn refusal(workshop: &Workshop, given: &Given) -> String {
    let mut arguments = vec!["generate", "a cat", "--device", "cpu", "-o", "cat.png", "--model"];
    arguments.push(text(&given.path));
    arguments.extend(given.config.iter().flat_map(|config| ["--config", text(config)]));
    let run = workshop.run(&arguments);
    assert_eq!(run.code(), Some(1), "{}", run.stderr());
    assert!(!workshop.path("cat.png").exists());
    let said = run.stderr();
    let said = said.lines().find_map(|line| line.strip_prefix("Error: ")).unwrap_or(&said);
    let of_file = said.strip_prefix(text(&given.path)).unwrap_or_else(|| panic!("{said}"));
    of_file.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn every_row_of_the_page_is_what_the_program_says() {
    let documented = documented();
    let rows: Vec<&str> = documented.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(rows, ROWS.iter().map(|row| row.0).collect::<Vec<_>>());
    for ((what, message), (_, make)) in documented.iter().zip(ROWS) {
        let workshop = Workshop::new();
        for given in make(&workshop) {
            let said = refusal(&workshop, &given);
            let (example, here) = given.instead.unwrap_or_default();
            assert!(what.contains(here) || example == EXAMPLE, "{here} is not in: {what}");
            let expected =
                if example.is_empty() { message.clone() } else { message.replace(example, here) };
            match expected.strip_suffix('…') {
                Some(begin) => assert!(said.starts_with(begin), "{what}: {said}"),
                None => assert_eq!(said, expected, "{what}: {}", given.path.display()),
            }
        }
    }
}
