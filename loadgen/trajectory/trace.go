package trajectory

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Recorded is one request of a recorded trace, in Mooncake's format: its arrival time, its length, and
// the blocks that its prompt shares with other requests. A trace has no text.
type Recorded struct {
	Line        int           // in the file, from 1
	At          time.Duration // from the first request of the trace
	InputTokens int
	Blocks      []uint64 // names of the prompt's blocks of BlockTokens, in order
}

// BlockTokens is the number of tokens in a block of a trace. The last block may have fewer.
const BlockTokens = 512

const (
	maxInputTokens = 4 << 20              // longer than any model's context
	maxTrace       = 366 * 24 * time.Hour // a longer trace has other units
)

// recordedRow is a line of a trace.
type recordedRow struct {
	Timestamp   *float64 `json:"timestamp"` // milliseconds
	InputLength *whole   `json:"input_length"`
	HashIDs     []uint64 `json:"hash_ids"`
}

// ReadTraceFile reads a recorded trace from a file of JSON lines; see readTrace.
func ReadTraceFile(path string, maxRequests int) ([]Recorded, error) {
	return readFile(path, func(r io.Reader, name string) ([]Recorded, error) { return readTrace(r, name, maxRequests) })
}

// readTrace reads at most maxRequests requests, one per line: timestamp in milliseconds, input_length in
// tokens, hash_ids of blocks of BlockTokens. Blocks without a hash_id are not shared. Requests are sorted
// by time, and the first is at 0. readTrace skips blank lines and ignores unknown fields. Errors hold
// name, the line number and what was expected.
func readTrace(r io.Reader, name string, maxRequests int) ([]Recorded, error) {
	var all []Recorded
	var times []float64
	err := eachLine(r, name, func(number int, line []byte) error {
		if len(all) >= maxRequests {
			return errEnough
		}
		one, at, err := decodeRecorded(line)
		if err != nil {
			return err
		}
		one.Line = number
		all, times = append(all, one), append(times, at)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s: no requests: expected one JSON object a line", name)
	}
	if err != nil {
		return nil, err
	}
	if err := inMilliseconds(name, all, times); err != nil {
		return nil, err
	}
	first := slices.Min(times)
	for i := range all {
		ms := times[i] - first
		if ms > float64(maxTrace/time.Millisecond) {
			return nil, fmt.Errorf("%s: line %d: timestamp: expected milliseconds, within %v of the first", name, all[i].Line, maxTrace)
		}
		all[i].At = time.Duration(ms * float64(time.Millisecond))
	}
	slices.SortStableFunc(all, func(a, b Recorded) int { return cmp.Compare(a.At, b.At) })
	return all, nil
}

// inMilliseconds returns an error if times are in seconds by all appearances: one has a fraction, and
// there is more than one request a millisecond.
func inMilliseconds(name string, all []Recorded, times []float64) error {
	over := slices.Max(times) - slices.Min(times)
	i := slices.IndexFunc(times, func(t float64) bool { return t != math.Trunc(t) })
	if i < 0 || len(times) < 3 || over == 0 || over >= float64(len(times)-1) {
		return nil
	}
	return fmt.Errorf("%s: line %d: timestamp: expected milliseconds; %d requests within %g ms look like seconds: multiply them by 1000",
		name, all[i].Line, len(times), over)
}

func decodeRecorded(line []byte) (Recorded, float64, error) {
	var row recordedRow
	if err := json.Unmarshal(line, &row); err != nil {
		return Recorded{}, 0, explain(err, line)
	}
	switch {
	case row.Timestamp == nil:
		return Recorded{}, 0, errors.New("timestamp is missing; expected milliseconds")
	case *row.Timestamp < 0 || *row.Timestamp > math.MaxInt64/2:
		return Recorded{}, 0, errors.New("timestamp: expected milliseconds, at least 0")
	case row.InputLength == nil:
		return Recorded{}, 0, errors.New("input_length is missing; expected the prompt's number of tokens")
	case *row.InputLength < 1 || *row.InputLength > maxInputTokens:
		return Recorded{}, 0, fmt.Errorf("input_length: expected 1 to %d tokens", maxInputTokens)
	}
	tokens := int(*row.InputLength)
	if blocks := (tokens + BlockTokens - 1) / BlockTokens; len(row.HashIDs) > blocks {
		return Recorded{}, 0, fmt.Errorf("hash_ids: expected at most %d for %d tokens, one for each %d, found %d",
			blocks, tokens, BlockTokens, len(row.HashIDs))
	}
	return Recorded{InputTokens: tokens, Blocks: row.HashIDs}, *row.Timestamp, nil
}

// Synthesis makes prompts for recorded requests. The same trace gives the same prompts on every machine,
// and requests whose first blocks have the same names begin with the same tokens. A Synthesis keeps each
// block's text, some 3 KB. It is not safe for concurrent use.
type Synthesis struct{ blocks map[string]string }

// Prompt returns a text with the recorded number of tokens, for Qwen's and other byte-pair tokenizers:
// each word is one token. Blocks without a name are not shared.
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

// block returns the first words of a block's text.
func (s *Synthesis) block(name string, words int) string {
	text, ok := s.blocks[name]
	if !ok {
		random := newStream(0, name, "block")
		var b strings.Builder
		for range BlockTokens {
			b.WriteString(" " + random.pick(texts().tokenWords))
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
		end += 1 + strings.IndexByte(text[end+1:], ' ') // another word follows
	}
	return text[:end]
}
