//! Which files of a repository a checkpoint needs.

use serde_json::{Map, Value};

use super::{
    HubError, Precision,
    listing::{ListedFile, Listing},
};

/// The file that says what a checkpoint consists of.
pub(super) const MODEL_INDEX: &str = "model_index.json";

/// The parts of a checkpoint that hold weights, and the stems of their files.
const NETWORKS: [(&str, &str); 4] = [
    ("text_encoder", "model"),
    ("text_encoder_2", "model"),
    ("unet", "diffusion_pytorch_model"),
    ("vae", "diffusion_pytorch_model"),
];

/// The parts that hold only small files.
const SMALL_PARTS: [&str; 3] = ["scheduler", "tokenizer", "tokenizer_2"];

/// Endings of small files that are read.
const SMALL_FILES: [&str; 3] = [".json", ".txt", ".model"];

/// Files that a single-file repository may hold beside its model.
const MODEL_FILES: [&str; 1] = [".safetensors"];

/// The files of a checkpoint in Hugging Face layout: configurations and vocabularies, and of each
/// network the weights in one precision. Left out are other formats of the same weights, pictures,
/// and parts that do not take part in making pictures, such as the safety checker.
pub(super) fn checkpoint_files<'a>(
    repository: &str,
    listing: &'a Listing,
    model_index: &Map<String, Value>,
    precision: Precision,
) -> Result<Vec<&'a ListedFile>, HubError> {
    let has_part = |part: &str| {
        let class = model_index.get(part).and_then(Value::as_array);
        class.is_some_and(|class| class.iter().any(|name| !name.is_null()))
    };
    let mut files: Vec<&ListedFile> = Vec::new();
    for wanted in [MODEL_INDEX, "defaults.json"] {
        files.extend(listing.file(wanted));
    }
    for part in SMALL_PARTS.into_iter().filter(|part| has_part(part)) {
        files.extend(small_files(listing, part));
    }
    for (part, stem) in NETWORKS.into_iter().filter(|(part, _)| has_part(part)) {
        files.extend(listing.file(&format!("{part}/config.json")));
        files.extend(weights(repository, listing, part, stem, precision)?);
    }
    Ok(files)
}

fn small_files<'a>(listing: &'a Listing, part: &'a str) -> impl Iterator<Item = &'a ListedFile> {
    listing.files.iter().filter(move |file| {
        inside(&file.path, part)
            .is_some_and(|name| SMALL_FILES.iter().any(|ending| name.ends_with(ending)))
    })
}

/// The name of a file that lies directly in the folder `part`.
fn inside<'a>(path: &'a str, part: &str) -> Option<&'a str> {
    let name = path.strip_prefix(part)?.strip_prefix('/')?;
    (!name.contains('/')).then_some(name)
}

/// The weights of a network: one file, or an index and its shards.
fn weights<'a>(
    repository: &str,
    listing: &'a Listing,
    part: &str,
    stem: &str,
    precision: Precision,
) -> Result<Vec<&'a ListedFile>, HubError> {
    for variant in precision.variants() {
        let found: Vec<&ListedFile> = listing
            .files
            .iter()
            .filter(|file| {
                inside(&file.path, part).is_some_and(|name| is_weights(name, stem, variant))
            })
            .collect();
        // A repository may hold the same weights whole and in shards.
        let whole = found
            .iter()
            .find(|file| file.path.ends_with(".safetensors") && !file.path.contains("-of-"));
        if let Some(whole) = whole {
            return Ok(vec![whole]);
        }
        if found.iter().any(|file| file.path.ends_with(".json")) {
            return Ok(found);
        }
    }
    let is_pickle = |file: &ListedFile| {
        inside(&file.path, part).is_some_and(|name| name.ends_with(".bin") || name.ends_with(".pt"))
    };
    let reason = if listing.files.iter().any(is_pickle) {
        format!(
            "its {part} has only pickled weights, and .safetensors alone are downloaded. Look for a \
             revision or another repository that has them"
        )
    } else {
        format!("its {part} has no .safetensors weights")
    };
    Err(HubError::Repository { repository: repository.to_owned(), reason })
}

/// Whether `name` is of the weights `STEM[.VARIANT].safetensors`, whole, a shard or the index.
fn is_weights(name: &str, stem: &str, variant: &str) -> bool {
    let Some(rest) = name.strip_prefix(stem) else { return false };
    if rest == format!("{variant}.safetensors")
        || rest == format!("{variant}.safetensors.index.json")
        || rest == format!(".safetensors.index{variant}.json")
    {
        return true;
    }
    // Shards: STEM.fp16-00001-of-00002.safetensors or STEM-00001-of-00002.fp16.safetensors.
    let Some(shard) = rest.strip_suffix(".safetensors") else { return false };
    let numbers = match (shard.strip_prefix(variant), shard.strip_suffix(variant)) {
        (Some(numbers), _) if numbers.starts_with('-') => numbers,
        (_, Some(numbers)) => numbers,
        _ => return false,
    };
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers
        .strip_prefix('-')
        .and_then(|numbers| numbers.split_once("-of-"))
        .is_some_and(|(number, count)| is_number(number) && is_number(count))
}

/// The model of a repository that is not in Hugging Face layout: the file that is asked for, or
/// the only one.
pub(super) fn single_file<'a>(
    repository: &str,
    listing: &'a Listing,
    asked: Option<&str>,
) -> Result<&'a ListedFile, HubError> {
    let refuse = |reason| HubError::Repository { repository: repository.to_owned(), reason };
    if let Some(asked) = asked {
        return listing
            .file(asked)
            .ok_or_else(|| refuse(format!("it has no file {asked}; it has {}", named(listing))));
    }
    let models: Vec<&ListedFile> = listing.files.iter().filter(|file| is_model(file)).collect();
    match models.as_slice() {
        [only] => Ok(only),
        [] => Err(refuse(
            "it holds neither a checkpoint in Hugging Face layout nor a .safetensors file".into(),
        )),
        _ => Err(refuse(format!(
            "it holds several models; choose one with --file: {}",
            named(listing)
        ))),
    }
}

fn is_model(file: &ListedFile) -> bool {
    MODEL_FILES.iter().any(|ending| file.path.ends_with(ending))
}

fn named(listing: &Listing) -> String {
    let models = listing.files.iter().filter(|file| is_model(file));
    models.map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let file = |path: &&str| ListedFile { path: (*path).to_owned(), size: None, sha256: None };
        Listing { commit: "abc".to_owned(), files: paths.iter().map(file).collect() }
    }

    fn chosen(paths: &[&str], precision: Precision) -> Result<Vec<String>, HubError> {
        let index = r#"{"_class_name": "StableDiffusionPipeline", "unet": ["d", "U"],
            "vae": ["d", "V"], "tokenizer": ["t", "T"], "safety_checker": ["s", "S"],
            "text_encoder": [null, null]}"#;
        let index = serde_json::from_str(index).unwrap();
        let listing = listing(paths);
        let files = checkpoint_files("a/b", &listing, &index, precision)?;
        Ok(files.into_iter().map(|file| file.path.clone()).collect())
    }

    const PUBLISHED: [&str; 22] = [
        ".gitattributes",
        "README.md",
        "model_index.json",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "sd.ckpt",
        "sd.safetensors",
        "sheet.png",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_flax_model.msgpack",
        "unet/model.onnx",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.fp16.bin",
        "vae/more/diffusion_pytorch_model.fp16.safetensors",
    ];

    #[test]
    fn only_what_is_needed_is_taken_in_half_precision_where_there_is_one() {
        let half = [
            "model_index.json",
            "tokenizer/merges.txt",
            "tokenizer/vocab.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        assert_eq!(chosen(&PUBLISHED, Precision::Half).unwrap(), half);
        let full = chosen(&PUBLISHED, Precision::Full).unwrap();
        assert_eq!(full[4], "unet/diffusion_pytorch_model.safetensors");
    }

    #[test]
    fn shards_come_with_their_index_in_both_ways_of_naming_them() {
        let vae = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"];
        let stem = "unet/diffusion_pytorch_model";
        for (index, shards) in [
            (".fp16.safetensors.index.json", [".fp16-00001-of-00002", ".fp16-00002-of-00002"]),
            (".safetensors.index.fp16.json", ["-00001-of-00002.fp16", "-00002-of-00002.fp16"]),
        ] {
            let half = [
                index.to_owned(),
                format!("{}.safetensors", shards[0]),
                format!("{}.safetensors", shards[1]),
            ]
            .map(|end| format!("{stem}{end}"));
            let full = [
                "-00001-of-00002.safetensors",
                "-00002-of-00002.safetensors",
                ".safetensors.index.json",
            ]
            .map(|end| format!("{stem}{end}"));
            let all: Vec<&str> = half.iter().chain(&full).map(String::as_str).chain(vae).collect();
            let taken = |precision| {
                let mut taken = chosen(&all, precision).unwrap();
                taken.retain(|path| path.starts_with("unet/"));
                taken
            };
            assert_eq!(taken(Precision::Half), half);
            assert_eq!(taken(Precision::Full), full);
        }
    }

    #[test]
    fn pickles_alone_are_refused_by_name() {
        let paths = ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"];
        let error = chosen(&paths, Precision::Half).unwrap_err().to_string();
        assert!(error.contains("pickled"), "{error}");
    }

    #[test]
    fn the_only_file_is_taken_and_of_several_the_one_that_is_asked_for() {
        let one = listing(&["README.md", "a.safetensors", "a.ckpt"]);
        assert_eq!(single_file("a/b", &one, None).unwrap().path, "a.safetensors");
        let two = listing(&["a.safetensors", "b.safetensors"]);
        let error = single_file("a/b", &two, None).unwrap_err().to_string();
        assert!(error.contains("--file: a.safetensors, b.safetensors"), "{error}");
        assert_eq!(single_file("a/b", &two, Some("b.safetensors")).unwrap().path, "b.safetensors");
        assert!(single_file("a/b", &two, Some("c")).is_err());
    }
}
