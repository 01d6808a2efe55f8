package compat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"paceline/proxy/upstream"
)

// bounds are what values are checked against besides the table.
type bounds struct {
	upstream.Limits
	elements int             // of a list: no longer one could be queued
	allowed  map[string]bool // fields that are refused otherwise
	foreign  map[string]bool // outer fields of the path that SGLang knows and the table does not
	queued   bool            // the elements of text and input_ids are prompts for the queue
}

// reader reads JSON once, by the table, and refuses what Go and Python could read as two
// different values: names that come twice or differ only in case, numbers too large for
// either, text that is not UTF-8, half a surrogate pair. It allocates nothing for each
// element. Its errors are *upstream.FieldError and never quote text.
type reader struct {
	bounds
	d       *jsontext.Decoder
	body    []byte
	outer   string                     // where the JSON stands that is read; empty for a body
	content int                        // bytes of the prompt's parts so far
	fields  map[string]json.RawMessage // the outer fields, as parts of the body
	one     string                     // which of oneOf the last object had
}

// readObject reads a body by the object of the given name in the table, and returns its
// fields.
func readObject(body []byte, name string, b bounds) (map[string]json.RawMessage, error) {
	if err := checkEncoding(body); err != nil {
		return nil, err
	}
	r := newReader(body, b)
	r.fields = make(map[string]json.RawMessage, 8)
	if err := r.whole(objects[name]); err != nil {
		return nil, err
	}
	if name == "generate" {
		return r.fields, checkPerPrompt(r.fields)
	}
	return r.fields, nil
}

// checkPerPrompt refuses lists of options beside a single prompt of /generate: SGLang
// takes the list for the one prompt's value, and return_logprob: [true] ends it (0.5.23).
func checkPerPrompt(fields map[string]json.RawMessage) error {
	prompts := fields["text"]
	if isNull(prompts) {
		prompts = bytes.TrimLeft(bytes.TrimPrefix(fields["input_ids"], []byte("[")), " \t\r\n")
	}
	if bytes.HasPrefix(prompts, []byte("[")) {
		return nil
	}
	for _, name := range []string{
		"return_logprob", "logprob_start_len", "top_logprobs_num", "sampling_params", "return_sampling_mask", "return_hidden_states",
		"sampling_logprobs_mode", "rid", "lora_path", "extra_key", "cache_salt",
	} {
		if bytes.HasPrefix(fields[name], []byte("[")) {
			return upstream.WrongField(name, "must not be a list beside a single prompt")
		}
	}
	ids, isList := bytes.CutPrefix(fields["token_ids_logprob"], []byte("["))
	if isList && bytes.HasPrefix(bytes.TrimLeft(ids, " \t\r\n"), []byte("[")) {
		return upstream.WrongField("token_ids_logprob", "must not be a list of lists beside a single prompt")
	}
	return nil
}

func newReader(body []byte, b bounds) *reader {
	return &reader{bounds: b, body: body, d: jsontext.NewDecoder(bytes.NewBuffer(body))}
}

// checkEncoding refuses the encodings of JSON that Python detects and Go does not.
func checkEncoding(body []byte) error {
	start := body[:min(len(body), 4)]
	if bytes.HasPrefix(start, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(start, []byte("\xff\xfe")) ||
		bytes.HasPrefix(start, []byte("\xfe\xff")) || bytes.IndexByte(start, 0) >= 0 {
		return upstream.WrongField("body", "must be JSON in UTF-8 without a byte order mark")
	}
	return nil
}

// whole reads all of the JSON. It must be one object.
func (r *reader) whole(o *object) error {
	if k := r.d.PeekKind(); k != '{' && k != 0 {
		return r.wrongAll("must be a JSON object")
	}
	if err := r.object(o, true); err != nil {
		return err
	}
	switch _, err := r.d.ReadToken(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return r.broken(err)
	}
	return r.wrongAll("is not JSON: something follows its end")
}

// value reads the next value by its rule.
func (r *reader) value(f *rule) error {
	switch kind := r.d.PeekKind(); {
	case kind == 'n':
		return r.skip()
	case (kind == 't' || kind == 'f') && (f.boolean || f.open):
		return r.skip()
	case kind == '"' && f.text != nil:
		return r.text(f.text)
	case kind == '0' && (f.number != nil || f.open):
		return r.number(f.number)
	case kind == '[' && f.list != nil:
		return r.list(f.list)
	case kind == '[' && f.open:
		return r.list(&anyList)
	case kind == '{' && f.object != "":
		return r.object(objects[f.object], false)
	case kind == '{' && f.open:
		return r.object(&anyObject, false)
	case kind == '"' && f.open:
		return r.skip()
	}
	if _, err := r.d.ReadToken(); err != nil {
		return r.broken(err)
	}
	return r.wrong("must be %s", f.kinds())
}

var (
	anyList   = listRule{of: ignored, max: math.MaxInt}
	anyObject = object{}
)

// skip reads a value that is a single token.
func (r *reader) skip() error {
	if _, err := r.d.ReadValue(); err != nil {
		return r.broken(err)
	}
	return nil
}

// object reads an object. The fields of the outermost one are kept.
func (r *reader) object(o *object, outermost bool) error {
	if err := r.enter(); err != nil {
		return err
	}
	one := ""
	for r.d.PeekKind() != '}' {
		name, err := r.name()
		if err != nil {
			return err
		}
		f, err := r.field(o, name, outermost)
		if err != nil {
			return err
		}
		from := r.d.InputOffset()
		if slices.Contains(o.oneOf, name) && r.d.PeekKind() != 'n' {
			if one != "" {
				return r.wrong("must not stand beside %s", one)
			}
			one = name
		}
		if err := r.value(f); err != nil {
			return err
		}
		if outermost && r.fields != nil {
			r.fields[name] = bytes.TrimLeft(r.body[from:r.d.InputOffset()], " \t\r\n:")
		}
	}
	if err := r.leave(); err != nil {
		return err
	}
	if o.oneOf != nil && one == "" {
		return r.wrong("must have one of %s", strings.Join(o.oneOf, ", "))
	}
	r.one = one
	return nil
}

// name reads the name of a field.
func (r *reader) name() (string, error) {
	raw, err := r.d.ReadValue()
	if err != nil {
		return "", r.broken(err)
	}
	return unquote(raw), nil
}

// field finds the rule of a field whose name has been read.
func (r *reader) field(o *object, name string, outermost bool) (*rule, error) {
	f, known := o.fields[name]
	isNull := r.d.PeekKind() == 'n'
	switch {
	case known:
	case o.folded[fold(name)] != "":
		return nil, r.wrong("must be written %s", o.folded[fold(name)])
	case o.tokenKeys:
		if err := r.tokenKey(name); err != nil {
			return nil, err
		}
		f = o.rest
	case o.closed, outermost && r.foreign[name]:
		f = refused
	case o.rest.set():
		f = o.rest
	default:
		f = ignored
	}
	switch {
	case f.gated && !isNull && !r.allowed[name]:
		return nil, r.wrong("is refused: SGLang does not check it, and it can end SGLang (the setting allow_fields lets it pass)")
	case isNull && !known && !f.null:
		return nil, r.wrong("must be %s, not null", f.kinds())
	}
	return &f, nil
}

// tokenKey checks a name that is a token id, as SGLang reads it.
func (r *reader) tokenKey(name string) error {
	n, err := strconv.ParseInt(name, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != name {
		return r.wrong("must be a token id")
	}
	return r.inVocabulary(float64(n))
}

func (r *reader) inVocabulary(n float64) error {
	switch {
	case r.VocabSize == 0:
		return upstream.UnknownVocabulary(r.path())
	case n < 0 || n >= float64(r.VocabSize):
		return r.wrong("%v is outside the vocabulary [0, %d)", n, r.VocabSize)
	}
	return nil
}

// list reads a list, and stops at the first element that is too many.
func (r *reader) list(f *listRule) error {
	if err := r.enter(); err != nil {
		return err
	}
	var first jsontext.Kind
	one := ""
	for n := 0; ; n++ {
		kind := r.d.PeekKind()
		if kind == ']' {
			if err := r.leave(); err != nil {
				return err
			}
			if n < f.min {
				return r.wrong("must not be empty")
			}
			return nil
		}
		if n == r.most(f, kind) {
			return r.tooMany(n, kind)
		}
		if err := r.value(&f.of); err != nil {
			return err
		}
		switch {
		case kind == 'n' && !f.of.null:
			return r.wrong("must be %s, not null", f.of.kinds())
		case first == 0 && kind != 'n':
			first, one = kind, r.one
		case kind != 'n' && !f.of.open && isBool(kind) != isBool(first) && kind != first:
			return r.wrong("must be of the same type as the elements before it")
		case f.alike && r.one != one:
			return r.wrong("must have %s, as the elements before it", one)
		}
	}
}

// tooMany refuses the element after the n that a list may have.
func (r *reader) tooMany(n int, kind jsontext.Kind) error {
	field := parentOf(r.path(), n)
	if r.queued && kind != '0' && (field == "text" || field == "input_ids") {
		return upstream.WrongField(field, "must hold at most %d elements, which is queue_requests", n)
	}
	return upstream.WrongField(field, "must hold at most %d %s", n, countedOf(kind))
}

func isBool(k jsontext.Kind) bool { return k == 't' || k == 'f' }

// most is how many elements of a kind a list may have.
func (r *reader) most(f *listRule, kind jsontext.Kind) int {
	switch {
	case f.max > 0:
		return f.max
	case kind == '0' && r.MaxPromptTokens > 0:
		return r.MaxPromptTokens
	case kind == '0':
		return maxUnknownTokens
	}
	return r.elements
}

// maxUnknownTokens is the most ids of a prompt where SGLang's own limit is not known.
const maxUnknownTokens = 1 << 22

func countedOf(kind jsontext.Kind) string {
	if kind == '0' {
		return "tokens"
	}
	return "elements"
}

func (r *reader) text(f *textRule) error {
	raw, err := r.d.ReadValue()
	if err != nil {
		return r.broken(err)
	}
	if f.prompt && len(raw) == 2 {
		return r.wrong("must not be empty")
	}
	if f.max > 0 && len(raw)-2 > f.max {
		return r.wrong("must have at most %d bytes, got %d", f.max, len(raw)-2)
	}
	if f.prompt || f.content {
		length := textBytes(raw)
		if f.content {
			r.content += length
			length = r.content
		}
		if most := r.MaxTextBytes(); most > 0 && length > most {
			return r.wrong("must have at most %d tokens, and %d bytes are more than that", r.MaxPromptTokens, length)
		}
	}
	if f.grammar {
		if problem := grammarProblem(unquote(raw)); problem != "" {
			return r.wrong("%s", problem)
		}
	}
	if f.json != "" {
		return r.embedded(unquote(raw), f.json)
	}
	return nil
}

// embedded reads JSON that stands in a string.
func (r *reader) embedded(text, name string) error {
	if strings.TrimSpace(text) == "" || text == anySchema {
		return nil
	}
	in := newReader([]byte(text), r.bounds)
	in.outer, in.content = r.path(), r.content
	if in.d.PeekKind() != '{' { // a schema may be true
		return in.value(&ignored)
	}
	return in.whole(objects[name])
}

// anySchema is SGLang's word for any JSON.
const anySchema = "$$ANY$$"

func (r *reader) number(f *numberRule) error {
	raw, err := r.d.ReadValue()
	if err != nil {
		return r.broken(err)
	}
	whole := !bytes.ContainsAny(raw, ".eE")
	n, ok := parseNumber(raw, whole)
	switch {
	case !ok:
		return r.wrong("must be a number of 64 bits")
	case f == nil:
		return nil
	case f.id:
		if err := r.inVocabulary(n); err != nil {
			return err
		}
	}
	low, high := f.min, f.max
	switch {
	case f.id:
		low, high = 0, float64(r.VocabSize)
	case f.top:
		low, high = 0, float64(r.MaxTopLogprobs())
	}
	if n < low || n > high || f.whole && !whole || f.notZero && n == 0 {
		f := numberRule{min: low, max: high, whole: f.whole, notZero: f.notZero}
		return r.wrong("must be %s, got %.32s", f.describe(), raw)
	}
	return nil
}

// parseNumber reads a number that Go and Python hold: a whole one of 64 bits, or a
// finite one. A token id, of few digits, costs no call.
func parseNumber(raw []byte, whole bool) (n float64, ok bool) {
	if len(raw) < 16 && whole && raw[0] != '-' {
		for _, digit := range raw {
			n = n*10 + float64(digit-'0')
		}
		return n, true
	}
	text := string(raw)
	if whole {
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			if _, err := strconv.ParseUint(text, 10, 64); err != nil {
				return 0, false
			}
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// enter reads the beginning of an object or a list, and leave its end.
func (r *reader) enter() error {
	if _, err := r.d.ReadToken(); err != nil {
		return r.broken(err)
	}
	if r.d.StackDepth() > upstream.MaxJSONDepth {
		return r.wrongAll("must not be nested deeper than %d", upstream.MaxJSONDepth)
	}
	return nil
}

func (r *reader) leave() error {
	if _, err := r.d.ReadToken(); err != nil {
		return r.broken(err)
	}
	return nil
}

// wrong names the value, or the name, that was read last.
func (r *reader) wrong(format string, args ...any) error {
	return upstream.WrongField(r.path(), format, args...)
}

// wrongAll names all of the JSON.
func (r *reader) wrongAll(format string, args ...any) error {
	return upstream.WrongField(cmp.Or(r.outer, "body"), format, args...)
}

// path is where the value stands that was read last: input_ids[3].
func (r *reader) path() string {
	var b strings.Builder
	b.WriteString(r.outer)
	for token := range r.d.StackPointer().Tokens() {
		_, err := strconv.Atoi(token)
		switch {
		case err == nil:
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + printable(token))
		default:
			b.WriteString(printable(token))
		}
	}
	if b.Len() == 0 {
		return "body"
	}
	return b.String()
}

// printable keeps what a client could have written into a name, but a name.
func printable(name string) string {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '$' {
			return "…"
		}
	}
	if len(name) > 64 {
		return "…"
	}
	return name
}

// parentOf is the path of the list, from that of its element read last, of n so far.
func parentOf(path string, n int) string {
	return strings.TrimSuffix(path, "["+strconv.Itoa(n-1)+"]")
}

// broken is the decoder's error without what it quotes, which may be of a prompt.
func (r *reader) broken(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return r.wrongAll("must not have a name twice in one object: %s", r.path())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return r.wrongAll("is not JSON: it ends too early")
	case errors.As(err, &syntax) && (strings.Contains(syntax.Err.Error(), "UTF-8") || strings.Contains(syntax.Err.Error(), "surrogate")):
		return r.wrongAll("must be JSON in UTF-8, without halves of surrogate pairs: byte %d", syntax.ByteOffset+1)
	case errors.As(err, &syntax):
		return r.wrongAll("is not JSON: byte %d is unexpected", syntax.ByteOffset+1)
	}
	return r.wrongAll("is not JSON")
}

// unquote is the text of a JSON string that has been read.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	text, _ := jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw) // it has been read: it is valid
	return string(text)
}

// textBytes is at least how many bytes the text of a JSON string has, and hardly more.
func textBytes(raw []byte) int {
	n := len(raw) - 2
	for rest := raw; ; {
		at := bytes.IndexByte(rest, '\\')
		if at < 0 {
			return n
		}
		n--
		if rest[at+1] == 'u' {
			n -= 2 // \u20ac has three bytes
		}
		rest = rest[at+2:]
	}
}

// grammarProblem says what is wrong with a regular expression or a grammar: what would
// become a large automaton, or is nested deeper than its parsers go.
func grammarProblem(text string) string {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(', '[', '{':
			if depth++; depth > upstream.MaxJSONDepth {
				return fmt.Sprintf("must not be nested deeper than %d", upstream.MaxJSONDepth)
			}
			if text[i] == '{' && tooOften(text[i+1:]) {
				return fmt.Sprintf("must not repeat anything more than %d times", maxRepeats)
			}
		case ')', ']', '}':
			depth--
		}
	}
	return ""
}

// tooOften says whether text begins with a count, n} or n,m}, that is above maxRepeats.
func tooOften(text string) bool {
	n := 0
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			if n = n*10 + int(c-'0'); n > maxRepeats {
				return true
			}
		case c == ',':
			n = 0
		case c != ' ':
			return false
		}
	}
	return false
}
