package phrase

import (
	"regexp"
	"strings"
	"sync"
)

// stored are the formats of sentences that results.json holds as they were written,
// in English. All their verbs are %s.
var stored = []string{
	"system prompt: %s; instance prompt: %s; no chat template",
	"system prompt: %s; instance prompt: %s; %s chat template",
	"words that mean nothing, one token each; no chat template",
	"%s's",
	"%s was not a finite number and is written as 0",
	"interrupted",
	"our own",
	"the trajectories' own",
	"a turn before it failed",
	"as token ids: SGLang's /tokenize agrees with %s",
	"as texts: %s",
	"no tokenizer is configured",
	"SGLang's model folder can't be read from here, and -tokenizer names no file",
	"%s (simulated)",

	// Of merged shards: package report's merge.go and package shard.
	"its %s shards all ran together for only %s %% of its time by their clocks: the rest is less load than was asked for",
	"a batch with requests of several shards counts once for each of them, because not all of their requests.jsonl were there",
	"the requests of shard %s were more than %s bytes and stayed in its own requests.jsonl",
	"%s runs not measured by all shards and left out",
	"1 run not measured by all shards and left out",
	"shard %s: %s",

	// Where the simulator's profiles come from: packages sglang/sim and calibrate.
	"estimated, not measured: 14.2 GFLOP a token at 798 TFLOP/s bfloat16 give 17.8 µs a token; tokenizing at 2.4 MB/s was measured with Python's tokenizers; 80 GB less the weights hold about 950,000 tokens of 57,344 bytes; the other times are assumed",
	"fitted by loadgen calibrate to SGLang 0.5.23 serving a tiny random model on 2 CPU cores (torch_native attention): the mean of two calibrations, before and after a sweep, of 170 and 102 calls of up to 2,048 tokens; whole calls are off by 13 and 12 % on average",
	"fitted to SGLang %s by %s calls, one at a time, of 1 to 16 prompts of up to %s tokens: whole calls are off by %s %% on average, %s %% at the worst",
}

// Stored is a sentence of loadgen's own that was kept in English, as those in
// results.json are: in another language if it is known, or else as it is.
func Stored(english string) Phrase {
	return Phrase{func(l Language) string {
		if l == English {
			return english
		}
		for _, f := range forms() {
			if m := f.is.FindStringSubmatch(english); m != nil {
				args := make([]any, len(m)-1)
				for i, text := range m[1:] {
					args[i] = Stored(text)
				}
				return Say(f.format, args...).In(l)
			}
		}
		return english
	}}
}

type form struct {
	format string
	is     *regexp.Regexp
}

// forms are the stored formats, as what recognises them.
var forms = sync.OnceValue(func() (all []form) {
	for _, f := range stored {
		pattern := strings.NewReplacer("%s", "(.+?)", "%%", "%").Replace(regexp.QuoteMeta(f))
		all = append(all, form{f, regexp.MustCompile("^" + pattern + "$")})
	}
	return all
})
