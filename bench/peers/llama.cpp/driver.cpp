// Times llama.cpp through its C interface, without a tokeniser; prints one JSON object.
//
//   driver bench MODEL  [--prompt N] [--gen N] [--depth N] [--sequences N] [--kv 16|8|4]
//                                                            speed of one round, after one that warms up
//   driver nll MODEL    --first N --window N < ids           mean negative log-likelihood of ids N.. of each window
//   driver say MODEL    --gen N < text                       the most likely text that follows, piece by piece
//   driver greedy MODEL --gen N < ids                        the ids that follow
//   driver system                                            the instruction sets it was built for
//
// and for all: --threads N, --flash 0|1, --batch N (tokens a call; default 512). Ids are separated by white space.
// What is timed follows `bantam bench`: the prompt behind `depth` tokens up to the first new id, then `gen` more ids,
// each the most likely one after the one before.
#include <llama.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using Ids = std::vector<llama_token>;
using Clock = std::chrono::steady_clock;

static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The options after the model; every value is a whole number.
struct Options {
    std::map<std::string, int> values = {{"prompt", 512}, {"gen", 64},  {"depth", 0}, {"threads", 2},
                                         {"flash", 0},    {"batch", 512}, {"first", 1}, {"window", 0},
                                         {"sequences", 1}, {"kv", 16}};

    int operator[](const std::string & name) const { return values.at(name); }

    void read(int count, char ** words) {
        for (int i = 0; i < count; i += 2) {
            std::string name = std::string(words[i]).erase(0, 2);
            if (!values.count(name) || i + 1 == count) throw std::runtime_error("unknown or empty option " + name);
            values[name] = std::stoi(words[i + 1]);
        }
    }
};

class Peer {
  public:
    Peer(const std::string & path, const Options & options, int context_length) : batch_size(options["batch"]) {
        const auto begin = Clock::now();
        llama_model_params model_params = llama_model_default_params();
        model_params.n_gpu_layers = 0;
        model.reset(llama_model_load_from_file(path.c_str(), model_params));
        if (!model) throw std::runtime_error("cannot load " + path);
        llama_context_params params = llama_context_default_params();
        params.n_seq_max = options["sequences"];
        params.n_ctx = context_length * options["sequences"];
        const std::map<int, ggml_type> kinds = {{16, GGML_TYPE_F16}, {8, GGML_TYPE_Q8_0}, {4, GGML_TYPE_Q4_0}};
        params.type_k = params.type_v = kinds.at(options["kv"]);
        params.n_batch = params.n_ubatch = batch_size;
        params.n_threads = params.n_threads_batch = options["threads"];
        params.flash_attn_type = options["flash"] ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        params.no_perf = true;
        context.reset(llama_init_from_model(model.get(), params));
        if (!context) throw std::runtime_error("cannot make a context for " + path);
        vocab_size = llama_vocab_n_tokens(llama_model_get_vocab(model.get()));
        load_s = seconds_since(begin);
    }

    void clear() { llama_memory_clear(llama_get_memory(context.get()), true); }

    // Runs ids from a position on, in calls of at most batch_size; after each call `rows(first, count)` may read the
    // logits: all rows of the call where `every`, else only the last one.
    template <typename Rows>
    void decode(const Ids & ids, int position, bool every, Rows rows, int sequence = 0) {
        for (int first = 0; first < (int) ids.size(); first += batch_size) {
            const int count = std::min<int>(batch_size, ids.size() - first);
            llama_batch batch = llama_batch_init(count, 0, 1);
            batch.n_tokens = count;
            for (int i = 0; i < count; i++) {
                batch.token[i] = ids[first + i];
                batch.pos[i] = position + first + i;
                batch.n_seq_id[i] = 1;
                batch.seq_id[i][0] = sequence;
                batch.logits[i] = every || i == count - 1;
            }
            const auto begin = Clock::now();
            const int code = llama_decode(context.get(), batch);
            llama_batch_free(batch);
            if (code != 0) throw std::runtime_error("llama_decode gave " + std::to_string(code));
            llama_synchronize(context.get());
            decode_s += seconds_since(begin);
            rows(first, count);
        }
    }

    void decode(const Ids & ids, int position, int sequence = 0) {
        decode(ids, position, false, [](int, int) {}, sequence);
    }

    // One id of each sequence, all at the same position; the next ids take their places.
    void decode_together(Ids & ids, int position) {
        llama_batch batch = llama_batch_init(ids.size(), 0, 1);
        batch.n_tokens = ids.size();
        for (int i = 0; i < batch.n_tokens; i++) {
            batch.token[i] = ids[i];
            batch.pos[i] = position;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = i;
            batch.logits[i] = true;
        }
        const int code = llama_decode(context.get(), batch);
        llama_batch_free(batch);
        if (code != 0) throw std::runtime_error("llama_decode gave " + std::to_string(code));
        for (int i = 0; i < (int) ids.size(); i++) ids[i] = most_likely(i);
    }

    const float * logits(int row) { return llama_get_logits_ith(context.get(), row); }

    llama_token most_likely(int row_index = -1) {
        const float * row = logits(row_index);
        return std::max_element(row, row + vocab_size) - row;
    }

    const llama_vocab * vocab() { return llama_model_get_vocab(model.get()); }

    int vocab_size = 0;
    double load_s = 0;
    double decode_s = 0;  // in `decode`

  private:
    struct FreeModel { void operator()(llama_model * m) const { llama_model_free(m); } };
    struct FreeContext { void operator()(llama_context * c) const { llama_free(c); } };
    int batch_size;
    std::unique_ptr<llama_model, FreeModel> model;
    std::unique_ptr<llama_context, FreeContext> context;
};

// Valid ids from a fixed generator, other ones for each round.
static Ids arbitrary_ids(int count, int vocab_size, uint64_t state) {
    Ids ids(count);
    for (auto & id : ids) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        id = (state >> 33) % vocab_size;
    }
    return ids;
}

static long peak_rss_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind("VmHWM:", 0) == 0) return 1024 * std::stol(line.substr(6));
    return 0;
}

static void bench(const std::string & path, const Options & options) {
    const int prompt = options["prompt"], gen = options["gen"], depth = options["depth"];
    const int sequences = options["sequences"];
    Peer peer(path, options, depth + prompt + gen + 1);
    double prefill_s = 0, decode_s = 0;
    for (int round = 0; round < 2; round++) {  // the first warms up
        peer.clear();
        for (int s = 0; s < sequences; s++)
            peer.decode(arbitrary_ids(depth, peer.vocab_size, 99 * s + 3 * round + 1), 0, s);
        Ids next(sequences);
        auto begin = Clock::now();
        for (int s = 0; s < sequences; s++) {
            peer.decode(arbitrary_ids(prompt, peer.vocab_size, 99 * s + 3 * round + 2), depth, s);
            next[s] = peer.most_likely();
        }
        prefill_s = seconds_since(begin);
        begin = Clock::now();
        for (int i = 0; i < gen; i++) peer.decode_together(next, depth + prompt + i);
        decode_s = seconds_since(begin);
    }
    printf("{\"prefill_tok_s\": %.6g, \"decode_tok_s\": %.6g, \"ttft_ms\": %.6g, \"load_ms\": %.6g, "
           "\"peak_rss_bytes\": %ld}\n",
           sequences * prompt / prefill_s, sequences * gen / decode_s, 1e3 * prefill_s, 1e3 * peer.load_s, peak_rss_bytes());
}

static Ids read_ids() {
    Ids ids;
    for (llama_token id; std::cin >> id;) ids.push_back(id);
    if (ids.size() < 2) throw std::runtime_error("wanted at least two ids on standard input");
    return ids;
}

static double nll_of(const float * row, int size, llama_token id) {
    const float top = *std::max_element(row, row + size);
    double sum = 0;
    for (int i = 0; i < size; i++) sum += std::exp((double) row[i] - top);
    return top + std::log(sum) - row[id];
}

static void nll(const std::string & path, const Options & options) {
    const Ids all = read_ids();
    const int window = options["window"] > 1 ? options["window"] : all.size();
    Peer peer(path, options, window + 1);
    const int from = std::max(options["first"], 1);
    double total = 0;
    int counted = 0;
    for (int begin = 0; begin + window <= (int) all.size(); begin += window) {
        const Ids ids(all.begin() + begin, all.begin() + begin + window);
        peer.clear();
        peer.decode(ids, 0, true, [&](int first, int count) {
            for (int i = 0; i < count; i++) {
                const int next = first + i + 1;
                if (next < from || next >= window) continue;
                total += nll_of(peer.logits(i), peer.vocab_size, ids[next]);
                counted++;
            }
        });
    }
    if (counted == 0) throw std::runtime_error("no id to predict");
    printf("{\"nll\": %.9g, \"perplexity\": %.9g, \"counted\": %d, \"tok_s\": %.6g}\n", total / counted,
           std::exp(total / counted), counted, all.size() / window * window / peer.decode_s);
}

static void greedy(const std::string & path, const Options & options) {
    const Ids ids = read_ids();
    Peer peer(path, options, ids.size() + options["gen"] + 1);
    peer.decode(ids, 0);
    printf("{\"ids\": [");
    for (int i = 0; i < options["gen"]; i++) {
        const llama_token id = peer.most_likely();
        printf("%s%d", i ? ", " : "", id);
        peer.decode({id}, ids.size() + i);
    }
    printf("]}\n");
}

static void say(const std::string & path, const Options & options) {
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    Peer peer(path, options, text.size() + options["gen"] + 8);
    Ids ids(text.size() + 8);
    const int count = llama_tokenize(peer.vocab(), text.data(), text.size(), ids.data(), ids.size(), true, true);
    if (count < 1) throw std::runtime_error("llama_tokenize gave " + std::to_string(count));
    ids.resize(count);
    peer.decode(ids, 0);
    for (int i = 0; i < options["gen"]; i++) {
        const llama_token id = peer.most_likely();
        char piece[256];
        const int size = llama_token_to_piece(peer.vocab(), id, piece, sizeof piece, 0, true);
        fwrite(piece, 1, std::max(size, 0), stdout);
        fflush(stdout);
        if (i + 1 < options["gen"]) peer.decode({id}, count + i);
    }
}

int main(int count, char ** words) try {
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
    }, nullptr);
    llama_backend_init();
    const std::string mode = count > 1 ? words[1] : "";
    if (mode == "system") {
        printf("{\"system\": \"%s\"}\n", llama_print_system_info());
        return 0;
    }
    if (count < 3) throw std::runtime_error("usage: driver bench|nll|greedy|say MODEL [--option N]... | driver system");
    Options options;
    options.read(count - 3, words + 3);
    if (mode == "bench") bench(words[2], options);
    else if (mode == "nll") nll(words[2], options);
    else if (mode == "greedy") greedy(words[2], options);
    else if (mode == "say") say(words[2], options);
    else throw std::runtime_error("unknown mode " + mode);
    return 0;
} catch (const std::exception & error) {
    fprintf(stderr, "driver: %s\n", error.what());
    return 1;
}
