package trajectory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Recorded is one request of a recorded trace, in the form that Mooncake published: when
// it came, how long it was, and which blocks of its prompt are those of other requests.
// The prompt's text was never in the trace.
type Recorded struct {
	Line         int           // of the file, from 1
	At           time.Duration // from the first request of the trace
	InputTokens  int
	OutputTokens int      // recorded; a prefill generates none of them
	Blocks       []uint64 // names of the prompt's blocks of BlockTokens, the first first
}

// BlockTokens is how many tokens a block of a trace has; the last may have fewer.
const BlockTokens = 512

// mostInputTokens bounds a prompt: longer than any model's context.
const mostInputTokens = 4 << 20

// recordedRow is a line of a trace.
type recordedRow struct {
	Timestamp    *float64 `json:"timestamp"` // milliseconds
	InputLength  *int     `json:"input_length"`
	OutputLength int      `json:"output_length"`
	HashIDs      []uint64 `json:"hash_ids"`
}

// ReadTraceFile reads a recorded trace from a file of JSON lines; see ReadTrace.
func ReadTraceFile(path string, most int) ([]Recorded, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path already
	}
	defer func() { _ = f.Close() }() // only read from: nothing to lose
	return ReadTrace(f, path, most)
}

// ReadTrace reads at most so many requests, one a line: timestamp in milliseconds,
// input_length and output_length in tokens, hash_ids of blocks of BlockTokens. Where
// there are fewer hash_ids than blocks the rest of the prompt is its own. Requests come
// back in the order of their times, which begin at 0. Blank lines are skipped and unknown
// fields ignored; an error names name, the line and what was expected.
func ReadTrace(r io.Reader, name string, most int) ([]Recorded, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	var all []Recorded
	var times []float64
	number := 0
	for len(all) < most && lines.Scan() {
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		one, at, err := decodeRecorded(line)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, number, err)
		}
		one.Line = number
		all, times = append(all, one), append(times, at)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: line %d: %w", name, number+1, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no requests: expected one JSON object a line", name)
	}
	first := slices.Min(times)
	for i := range all {
		ms := times[i] - first
		if ms > float64(longestTrace/time.Millisecond) {
			return nil, fmt.Errorf("%s: line %d: timestamp: expected milliseconds, within %v of the first", name, all[i].Line, longestTrace)
		}
		all[i].At = time.Duration(ms * float64(time.Millisecond))
	}
	slices.SortStableFunc(all, func(a, b Recorded) int { return int(min(max(a.At-b.At, -1), 1)) })
	return all, nil
}

// longestTrace is more than anybody replays; what is beyond is in other units.
const longestTrace = 366 * 24 * time.Hour

func decodeRecorded(line []byte) (Recorded, float64, error) {
	var row recordedRow
	if err := json.Unmarshal(line, &row); err != nil {
		return Recorded{}, 0, explain(err)
	}
	switch {
	case row.Timestamp == nil:
		return Recorded{}, 0, errors.New("timestamp is missing; expected milliseconds")
	case *row.Timestamp < 0 || *row.Timestamp > math.MaxInt64/2:
		return Recorded{}, 0, errors.New("timestamp: expected milliseconds, at least 0")
	case row.InputLength == nil:
		return Recorded{}, 0, errors.New("input_length is missing; expected the prompt's number of tokens")
	case *row.InputLength < 1 || *row.InputLength > mostInputTokens:
		return Recorded{}, 0, fmt.Errorf("input_length: expected 1 to %d tokens", mostInputTokens)
	case row.OutputLength < 0:
		return Recorded{}, 0, errors.New("output_length: expected at least 0 tokens")
	}
	blocks := (*row.InputLength + BlockTokens - 1) / BlockTokens
	if len(row.HashIDs) > blocks {
		return Recorded{}, 0, fmt.Errorf("hash_ids: expected at most %d for %d tokens, one for each %d, found %d", blocks, *row.InputLength, BlockTokens, len(row.HashIDs))
	}
	return Recorded{InputTokens: *row.InputLength, OutputTokens: row.OutputLength, Blocks: row.HashIDs}, *row.Timestamp, nil
}

// Synthesis makes prompts for recorded requests: the same for the same trace on every
// machine, and requests whose first blocks have the same names begin with the same
// tokens. It keeps each block's text, some 3 KB, and is for one goroutine.
type Synthesis struct{ blocks map[string]string }

// Prompt is a text of as many tokens as were recorded, with Qwen's and other
// tokenizers of byte pairs: each word is a token of theirs. Without hash_ids it is like
// no other.
func (s *Synthesis) Prompt(r Recorded) string {
	var b strings.Builder
	for left, i := r.InputTokens, 0; left > 0; left, i = left-BlockTokens, i+1 {
		name := "own\x00" + strconv.Itoa(r.Line) + "\x00" + strconv.Itoa(i)
		if i < len(r.Blocks) {
			name = "shared\x00" + strconv.FormatUint(r.Blocks[i], 10)
		}
		b.WriteString(s.block(name, min(left, BlockTokens)))
	}
	return b.String()
}

// block is the first words of a block's text.
func (s *Synthesis) block(name string, words int) string {
	text, ok := s.blocks[name]
	if !ok {
		random := newStream(0, name, "block")
		var b strings.Builder
		for range BlockTokens {
			b.WriteString(" " + random.pick(tokenWords))
		}
		text = b.String()
		if s.blocks == nil {
			s.blocks = map[string]string{}
		}
		s.blocks[name] = text
	}
	if words == BlockTokens {
		return text
	}
	end := 0
	for range words {
		end += 1 + strings.IndexByte(text[end+1:], ' ') // there is one: another word follows
	}
	return text[:end]
}
