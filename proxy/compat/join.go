package compat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// answerShape is what the answers to scoring requests look like. Numbers are copied as
// SGLang wrote them.
type answerShape interface {
	// has says whether an answer has this shape, for n items.
	has(answer []byte, n int) bool
	// join joins the answers to both parts of a request with these fields. Both answers have
	// the shape. It is false if something in them can't be joined.
	join(leader, rest []byte, fields map[string]json.RawMessage) ([]byte, bool)
}

// rows are answers with fields that hold a value for each item. All others are the same for
// each part, but usage, which is a sum.
type rows struct {
	perItem []string // the first always holds something
	sign    string   // a field that each value of the first has; empty for none
}

func (a rows) has(answer []byte, n int) bool {
	all, ok := elements(answer)
	first, ok2 := elements(find(all, a.perItem[0]))
	if !ok || !ok2 || len(first) != n {
		return false
	}
	for i := 0; a.sign != "" && i < n; i++ {
		if values, _ := elements(first[i].value); find(values, a.sign) == nil {
			return false
		}
	}
	return !slices.ContainsFunc(a.perItem[1:], func(name string) bool {
		raw := find(all, name)
		values, ok := elements(raw)
		return !isNull(raw) && (!ok || len(values) != n)
	})
}

func (a rows) join(leader, rest []byte, _ map[string]json.RawMessage) ([]byte, bool) {
	first, _ := elements(leader)
	all, _ := elements(rest)
	for i, e := range all {
		name, ok := unquote(e.name), true
		switch mine := find(first, name); {
		case name == "usage":
			all[i].value, ok = sum(mine, e.value)
		case slices.Contains(a.perItem, name) && isNull(mine) && isNull(e.value):
		case slices.Contains(a.perItem, name):
			before, _ := elements(mine)
			after, _ := elements(e.value)
			ok = len(before) > 0 && len(after) > 0 && (before[0].name == nil) == (after[0].name == nil)
			if ok {
				all[i].value = write(append(before, after...))
			}
		}
		if !ok {
			return nil, false
		}
	}
	return write(all), true
}

// sum adds two counts, or the counts of two objects.
func sum(a, b json.RawMessage) (json.RawMessage, bool) {
	if bytes.Equal(a, b) && (isNull(a) || string(a) == "{}") {
		return b, true
	}
	x, err := strconv.ParseInt(string(a), 10, 64)
	y, err2 := strconv.ParseInt(string(b), 10, 64)
	if err == nil && err2 == nil {
		return strconv.AppendInt(nil, x+y, 10), true
	}
	before, ok := elements(a)
	after, ok2 := elements(b)
	if !ok || !ok2 || len(before) != len(after) || len(after) == 0 {
		return nil, false
	}
	for i, e := range after {
		if after[i].value, ok = sum(find(before, unquote(e.name)), e.value); !ok {
			return nil, false
		}
	}
	return write(after), true
}

// ranking is a list of documents by score, the best first, each with its index.
type ranking struct{}

// ranked is the part of a document's entry that is read.
type ranked struct {
	Score *float64        `json:"score"`
	Index *int            `json:"index"`
	Meta  json.RawMessage `json:"meta_info"` // of a cross-encoder, whose prompts share no cache
}

func (ranking) has(answer []byte, n int) bool {
	var all []ranked
	return json.Unmarshal(answer, &all) == nil && len(all) == n && !slices.ContainsFunc(all, func(r ranked) bool {
		return r.Score == nil || r.Index == nil || !isNull(r.Meta)
	})
}

// join orders as SGLang does: equal scores by index.
func (ranking) join(leader, rest []byte, fields map[string]json.RawMessage) ([]byte, bool) {
	type entry struct {
		ranked
		element
	}
	var all []entry
	for before, part := range [][]byte{leader, rest} { // the leader is the one document before the rest
		values, _ := elements(part)
		for _, e := range values {
			one := entry{element: e}
			if json.Unmarshal(e.value, &one.ranked) != nil {
				return nil, false
			}
			*one.Index += before
			one.value = withIndex(e.value, *one.Index)
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(cmp.Compare(*b.Score, *a.Score), cmp.Compare(*a.Index, *b.Index)) })
	if most, ok := read[int](fields["top_n"]); ok {
		all = all[:min(most, len(all))]
	}
	out := make([]element, len(all))
	for i, e := range all {
		out[i] = e.element
	}
	return write(out), true
}

func withIndex(raw json.RawMessage, index int) json.RawMessage {
	all, _ := elements(raw)
	for i, e := range all {
		if unquote(e.name) == "index" {
			all[i].value = strconv.AppendInt(nil, int64(index), 10)
		}
	}
	return write(all)
}

// element is a value of a list, or a field of an object with its quoted name.
type element struct{ name, value json.RawMessage }

// elements returns the elements of a list or an object, as parts of raw.
func elements(raw json.RawMessage) (all []element, ok bool) {
	d := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	open, err := d.ReadToken()
	if err != nil || open.Kind() != '{' && open.Kind() != '[' {
		return nil, false
	}
	next := func() json.RawMessage {
		v, err2 := d.ReadValue()
		err = cmp.Or(err, err2)
		end := d.InputOffset()
		return raw[end-int64(len(v)) : end : end]
	}
	isObject := open.Kind() == '{'
	for err == nil && d.PeekKind() != '}' && d.PeekKind() != ']' {
		var e element
		if isObject {
			e.name = next()
		}
		e.value = next()
		all = append(all, e)
	}
	if err == nil {
		_, err = d.ReadToken()
	}
	return all, err == nil
}

// find returns the value of a field, or nil.
func find(all []element, name string) json.RawMessage {
	for _, e := range all {
		if e.name != nil && unquote(e.name) == name {
			return e.value
		}
	}
	return nil
}

// write returns the list or the object with these elements, at least one.
func write(all []element) json.RawMessage {
	open, end := byte('['), byte(']')
	if all[0].name != nil {
		open, end = '{', '}'
	}
	out := []byte{open}
	for i, e := range all {
		if i > 0 {
			out = append(out, ',')
		}
		if e.name != nil {
			out = append(append(out, e.name...), ':')
		}
		out = append(out, e.value...)
	}
	return append(out, end)
}

// writeBody returns the object with these fields, without the one that is dropped.
func writeBody(fields map[string]json.RawMessage, dropped string) []byte {
	var all []element
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != dropped {
			quoted, _ := json.Marshal(name) // a string
			all = append(all, element{quoted, fields[name]})
		}
	}
	return write(all)
}
