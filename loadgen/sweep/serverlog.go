package sweep

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// LogCounters counts the prefill batches in SGLang's log, whose lines say of each how
// many new sequences it computed:
//
//	Prefill batch, #new-seq: 16, #new-token: 8192, #cached-token: 0, …
//
// The log is read anew each time, so it may be rotated between two sweeps but not
// within one. SGLang writes a line as a forward begins.
type LogCounters struct{ Path string }

// Work implements Counters.
func (c LogCounters) Work(ctx context.Context) (Work, error) {
	f, err := os.Open(c.Path)
	if err != nil {
		return Work{}, fmt.Errorf("-sglang-log: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	batches, sequences, err := countPrefills(ctx, f)
	if err != nil {
		return Work{}, fmt.Errorf("-sglang-log: %w", err)
	}
	return Work{Forwards: &batches, Sequences: &sequences}, nil
}

// mostLine of a log is looked at; what is beyond tells nothing of a batch.
const mostLine = 64 << 10

// countPrefills counts whole lines.
func countPrefills(ctx context.Context, r io.Reader) (batches, sequences int64, err error) {
	lines := bufio.NewReaderSize(r, mostLine)
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF): // a line that is being written counts next time
			return batches, sequences, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return 0, 0, err
		}
		if n, ok := newSequences(line); ok {
			batches, sequences = batches+1, sequences+n
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
	}
}

// newSequences reads #new-seq of a line that tells of a prefill batch.
func newSequences(line []byte) (n int64, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte("Prefill batch"))
	if !ok {
		return 0, false
	}
	if _, rest, ok = bytes.Cut(rest, []byte("#new-seq: ")); !ok {
		return 0, false
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(string(rest[:end]), 10, 32)
	return n, err == nil
}
