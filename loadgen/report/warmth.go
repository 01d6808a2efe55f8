package report

import (
	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
)

// warmth says what the warm cache brought, or why it brought nothing: for the
// batch size that was fastest when cold.
func (r Report) warmth(phases []phase) []phrase.Phrase {
	if len(phases) < 2 {
		return nil
	}
	cold, warm := phases[0], phases[1]
	sized := cold.sized()
	if len(sized) == 0 {
		return nil
	}
	c := fastest(sized)
	w, ok := warm.find(c.setting)
	if !ok {
		return nil
	}
	text := phrase.Say("Batch size %s reaches %s requests/s warm against %s cold (%s); %s of the prompt tokens come from the cache when warm, %s when cold.",
		combination(c.setting), rate(w.throughput), rate(c.throughput), ratio(w.throughput, c.throughput), shareText(w.cachedShare), shareText(c.cachedShare))
	out := []phrase.Phrase{text}
	return append(out, r.notWarm(c, w)...)
}

// fullyWarm is the cached share from which on a warm run is called warm; all
// but one token of each prompt can come from the cache.
const fullyWarm = 0.9

func (r Report) notWarm(cold, warm cell) []phrase.Phrase {
	if warm.cachedShare >= fullyWarm {
		return nil
	}
	distinct := cold.median(func(run Run) float64 { return float64(run.PromptTokens - run.CachedTokens) })
	if kv := float64(r.Server.KVCacheTokens); kv > 0 && distinct > kv {
		return []phrase.Phrase{phrase.Say("Warm runs are not fully warm: a run computes %s distinct tokens, SGLang's KV cache holds %s, so a prompt is evicted before it comes again.",
			number.Thousands(int64(distinct)), number.Thousands(r.Server.KVCacheTokens))}
	}
	return []phrase.Phrase{phrase.Say("Warm runs are not fully warm, and the size of SGLang's KV cache does not explain it.")}
}
