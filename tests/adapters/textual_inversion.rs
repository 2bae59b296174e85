//! Textual inversion against transformers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::{DType, Device, Tensor, TensorData};
use emberbrush_pipeline::adapters::{
    AdaptedNetwork, AdapterFolders, AdapterSelection, Embedding, EncoderVectors,
};
use emberbrush_tests::{Golden, NETWORK_TOLERANCE, assert_close, checkpoint, fixtures, load};
use emberbrush_text_encoder::{AddedEmbeddings, ClipTextConfig, ClipTextModel, EndToken};

const FIRST: u32 = 49408;
const END: u32 = 49407;

fn embedding(name: &str) -> Embedding {
    let path = fixtures().join("checkpoints/textual-inversion").join(name);
    let selection = AdapterSelection { embedding: vec![path], ..AdapterSelection::default() };
    let found = AdapterFolders::default().find_embeddings(&selection, [""].into_iter()).unwrap();
    Embedding::open(found[0].clone()).unwrap()
}

fn rows(vectors: &EncoderVectors, device: &Device) -> Tensor<2> {
    let data = TensorData::new(vectors.values.clone(), [vectors.count, vectors.width]);
    Tensor::from_data(data, (device, DType::F32))
}

fn encoder(checkpoint_name: &str, part: &str, device: &Device) -> ClipTextModel {
    let complete = checkpoint(checkpoint_name);
    let folder = complete.join(part);
    let config = std::fs::read(folder.join("config.json")).unwrap();
    let config: ClipTextConfig = serde_json::from_slice(&config).unwrap();
    load(folder.join("model.safetensors"), device, |weights| ClipTextModel::new(&config, weights))
}

fn ids(golden: &Golden, key: &str) -> Vec<u32> {
    let data = golden.data(key).convert::<i64>().try_to_vec::<i64>().unwrap();
    data.into_iter().map(|id| id as u32).collect()
}

/// The three vectors of A1111's file and the one of diffusers', in the order of the golden.
#[test]
fn vectors_stand_for_ids_beyond_the_vocabulary() {
    let device = Device::flex();
    let golden = Golden::open("textual_inversion", &device);
    let files = ["sd15-a1111-3vec.safetensors", "sd15-diffusers-1vec.safetensors"].map(embedding);
    assert_eq!(files[1].names(), ["sd15-diffusers-1vec", "<cat-toy>"]);
    let tables =
        files.iter().map(|file| rows(file.vectors(AdaptedNetwork::TextEncoder).unwrap(), &device));
    let vectors = Tensor::cat(tables.collect(), 0);
    let added = AddedEmbeddings { first: FIRST, vectors, end_token: EndToken::OfAll };
    let model = encoder("sd15-tiny", "text_encoder", &device);
    let ids = [ids(&golden, "input_ids")];
    let go_on = &mut || ControlFlow::Continue(());
    let output = model.forward_with(&ids, Some(&added), go_on).unwrap().last_hidden_state();
    let expected = golden.tensor("last_hidden_state");
    assert_close("last_hidden_state", &output, &expected, NETWORK_TOLERANCE);
    assert!(model.forward(&ids, go_on).is_err(), "without the vectors there are no such ids");
}

/// Both encoders of SDXL. The pooled output is that of the end token, or, as transformers has it
/// with an `eos_token_id` of 2, of the last added one.
#[test]
fn each_encoder_of_sdxl_has_its_own_vectors() {
    let device = Device::flex();
    let golden = Golden::open("adapters", &device);
    let file = embedding("sdxl-2vec.safetensors");
    let second = ids(&golden, "sdxl-2vec.ids");
    let end = second.iter().position(|&id| id == END).unwrap();
    let mut first = second.clone();
    first[end..].fill(END);
    let go_on = &mut || ControlFlow::Continue(());
    let mut hidden = Vec::new();
    for (network, ids) in
        [(AdaptedNetwork::TextEncoder, first), (AdaptedNetwork::TextEncoder2, second)]
    {
        let model = encoder("sdxl-tiny", network.component(), &device);
        let vectors = rows(file.vectors(network).unwrap(), &device);
        let added =
            |end_token| AddedEmbeddings { first: FIRST, vectors: vectors.clone(), end_token };
        let ids = [ids];
        let of_all = added(EndToken::OfAll);
        let output = model.forward_with(&ids, Some(&of_all), go_on).unwrap();
        hidden.push(output.hidden_layer(1).unwrap());
        if let Some(pooled) = output.text_embeds() {
            let expected = golden.tensor("sdxl-2vec.pooled");
            assert_close("pooled", &pooled, &expected, NETWORK_TOLERANCE);
            let of_vocabulary = added(EndToken::OfVocabulary);
            let output = model.forward_with(&ids, Some(&of_vocabulary), go_on).unwrap();
            let expected = golden.tensor("sdxl-2vec.pooled_at_end");
            let pooled = output.text_embeds().unwrap();
            assert_close("pooled at the end", &pooled, &expected, NETWORK_TOLERANCE);
        }
    }
    let expected = golden.tensor("sdxl-2vec.hidden");
    assert_close("hidden", &Tensor::cat(hidden, 2), &expected, NETWORK_TOLERANCE);
}

#[test]
fn an_embedding_of_another_width_is_refused() {
    let file = embedding("sd15-a1111-3vec.safetensors");
    assert!(file.check(&[(AdaptedNetwork::TextEncoder, 32)], "sd15-tiny").is_ok());
    let two = [(AdaptedNetwork::TextEncoder, 24), (AdaptedNetwork::TextEncoder2, 32)];
    let message = file.check(&two, "sdxl-tiny").unwrap_err().to_string();
    for part in ["sd15-a1111-3vec.safetensors", "sdxl-tiny", "32 channels", "24 and 32"] {
        assert!(message.contains(part), "{message}");
    }
}

/// `torch.save`'s files, with the vectors in a dictionary or in a `ParameterDict`.
#[test]
fn pickles_are_read_as_data() {
    for name in ["embedding.pt", "embedding-parameters.pt"] {
        let path = fixtures().join("pickles").join(name);
        let selection = AdapterSelection { embedding: vec![path], ..AdapterSelection::default() };
        let found = AdapterFolders::default().find_embeddings(&selection, std::iter::empty());
        let embedding = Embedding::open(found.unwrap()[0].clone()).unwrap();
        let vectors = embedding.vectors(AdaptedNetwork::TextEncoder).unwrap();
        assert_eq!((vectors.count, vectors.width), (2, 3), "{name}");
        assert_eq!(vectors.values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{name}");
        assert_eq!(embedding.names()[0], name.trim_end_matches(".pt"));
    }
}
