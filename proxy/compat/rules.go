package compat

import (
	"maps"
	"strconv"
	"strings"
)

// rule says which JSON values may stand in one place: those of the kinds that it names.
// null may stand for a field's value, where SGLang reads it as no field.
type rule struct {
	boolean bool
	text    *textRule
	number  *numberRule
	list    *listRule
	object  string // a name in objects
	open    bool   // any value of the kinds that are not named

	null  bool // an element of a list may be null
	gated bool // refused, unless the setting allow_fields names the field
}

// textRule bounds a string.
type textRule struct {
	max     int    // in bytes of JSON; 0 leaves it to the body's bound
	prompt  bool   // not empty, and no longer than the context can hold
	content bool   // part of a prompt: all of them are no longer than the context can hold
	grammar bool   // a regular expression or a grammar
	json    string // JSON in a string: an object of that name
}

// numberRule bounds a number, min and max included.
type numberRule struct {
	min, max float64
	whole    bool
	notZero  bool
	id       bool // inside the vocabulary
	top      bool // how many of the likeliest tokens: within the vocabulary and our bound
}

// listRule bounds a list, whose elements are all of one kind.
type listRule struct {
	of       rule
	min, max int  // elements; a max of 0 is the context's tokens for numbers, and the queue's requests for others
	alike    bool // all elements, which are objects, have the same one of their fields oneOf
}

// object is what one JSON object may hold.
type object struct {
	fields    fields
	rest      rule // of the fields that are not in fields; the zero value ignores them
	closed    bool // others than those of fields are refused
	tokenKeys bool // the names are token ids
	oneOf     []string

	folded map[string]string // the names of fields, by what they are regardless of case
}

type fields map[string]rule

// set says whether the rule allows anything.
func (r *rule) set() bool {
	return r.open || r.boolean || r.text != nil || r.number != nil || r.list != nil || r.object != ""
}

// kinds are the values that the rule allows, for people.
func (r *rule) kinds() string {
	var kinds []string
	if r.text != nil {
		kinds = append(kinds, "a string")
	}
	if r.number != nil {
		kinds = append(kinds, r.number.describe())
	}
	if r.boolean {
		kinds = append(kinds, "true or false")
	}
	if r.list != nil {
		kinds = append(kinds, "a list")
	}
	if r.object != "" {
		kinds = append(kinds, "an object")
	}
	return strings.Join(kinds, " or ")
}

func (n *numberRule) describe() string {
	switch {
	case n.id:
		return "a token id"
	case n.top:
		return "a whole number"
	}
	what := "a number"
	if n.whole {
		what = "a whole number"
	}
	format := byte('g')
	if n.whole {
		format = 'f'
	}
	what += " from " + strconv.FormatFloat(n.min, format, -1, 64) + " to " + strconv.FormatFloat(n.max, format, -1, 64)
	if n.notZero {
		what += " and not 0"
	}
	return what
}

func textOf(t textRule) rule { return rule{text: &t} }

func wholeFrom(low, high float64) rule {
	return rule{number: &numberRule{min: low, max: high, whole: true}}
}

func floatFrom(low, high float64) rule { return rule{number: &numberRule{min: low, max: high}} }

func listOf(r rule) rule { return rule{list: &listRule{of: r}} }

func objectOf(name string) rule { return rule{object: name} }

// embedded is JSON in a string.
func embedded(name string) rule { return textOf(textRule{max: maxGrammar, json: name}) }

// filled is a list that is not empty.
func filled(r rule) rule {
	l := *r.list
	l.min = 1
	return rule{list: &l}
}

func bounded(r rule, most int) rule {
	l := *r.list
	l.max = most
	return rule{list: &l}
}

func nullable(r rule) rule {
	r.null = true
	return r
}

// or allows the kinds of values that any of the rules allows. No two have the same.
func or(rules ...rule) rule {
	var all rule
	for _, r := range rules {
		all.boolean, all.open = all.boolean || r.boolean, all.open || r.open
		all.null, all.gated = all.null || r.null, all.gated || r.gated
		all.object += r.object
		if r.text != nil {
			all.text = r.text
		}
		if r.number != nil {
			all.number = r.number
		}
		if r.list != nil {
			all.list = r.list
		}
	}
	return all
}

func join(all ...fields) fields {
	joined := fields{}
	for _, f := range all {
		maps.Copy(joined, f)
	}
	return joined
}

func init() {
	for _, o := range objects {
		o.folded = make(map[string]string, len(o.fields))
		for name := range o.fields {
			o.folded[fold(name)] = name
		}
	}
}

// fold makes names equal that differ only in case, in any reading of that.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }
