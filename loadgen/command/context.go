package command

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"paceline/loadgen/target"
	"paceline/sglang"
)

// contextStep is what a suggested context length is a multiple of, in tokens. SGLang keeps some
// tokens of its context back.
const contextStep = 1024

// checkContext warns of prompts that are longer than SGLang takes, and fails if all are. limit is
// in tokens; 0 is unknown. An SGLang that can't count tokens is not asked further.
func checkContext(ctx context.Context, client *sglang.Client, prompts []target.Prompt, limit uint64) error {
	if limit == 0 {
		return nil
	}
	bytes := func(a, b target.Prompt) int { return cmp.Compare(a.Bytes(), b.Bytes()) }
	longest, shortest := slices.MaxFunc(prompts, bytes), slices.MinFunc(prompts, bytes)
	ids, err := client.Tokenize(ctx, longest.Full())
	if err != nil || uint64(len(ids)) <= limit {
		return ctx.Err()
	}
	needed := (len(ids)/contextStep + 1) * contextStep
	advice := fmt.Sprintf("start it with --context-length %d, or name shorter prompts with -problems, -system and -instance", needed)
	if ids, err := client.Tokenize(ctx, shortest.Full()); err == nil && uint64(len(ids)) > limit {
		return fmt.Errorf("-sglang: each prompt is longer than the %d tokens that SGLang at %s takes, the shortest has %d: %s",
			limit, client.URL(), len(ids), advice)
	}
	fmt.Fprintf(os.Stderr, "some prompts are longer than the %d tokens that SGLang at %s takes and will fail, the longest has %d: %s\n",
		limit, client.URL(), len(ids), advice)
	return ctx.Err()
}
