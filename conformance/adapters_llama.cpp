// Logits of a list of ids from llama.cpp with a LoRA adapter: one line for each position. Built by adapters.py.
//
//   adapters_llama MODEL ADAPTER SCALE < ids
//
// Keys and values are f32 and there is one thread, so that only products differ from other programs'.
#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <vector>

static void fail(const char * what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

int main(int count, char ** words) {
    if (count != 4) fail("wanted MODEL ADAPTER SCALE");
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
    }, nullptr);
    llama_model * model = llama_model_load_from_file(words[1], llama_model_default_params());
    if (!model) fail("cannot load the model");
    llama_adapter_lora * adapter = llama_adapter_lora_init(model, words[2]);
    if (!adapter) fail("cannot load the adapter");
    std::vector<llama_token> ids;
    for (llama_token id; std::cin >> id;) ids.push_back(id);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 256;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.n_threads = params.n_threads_batch = 1;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) fail("cannot make a context");
    float scale = std::atof(words[3]);
    if (llama_set_adapters_lora(context, &adapter, 1, &scale) != 0) fail("cannot set the adapter");
    llama_batch batch = llama_batch_init(ids.size(), 0, 1);
    batch.n_tokens = ids.size();
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    if (llama_decode(context, batch) != 0) fail("cannot decode");
    const int vocab_size = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (size_t i = 0; i < ids.size(); i++) {
        const float * row = llama_get_logits_ith(context, i);
        for (int id = 0; id < vocab_size; id++) std::printf(id ? " %.9g" : "%.9g", row[id]);
        std::printf("\n");
    }
}
