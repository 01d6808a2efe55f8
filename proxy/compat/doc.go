// Package compat serves SGLang's own HTTP interface, so that a client need only change its
// URL.
//
// Read fields.go first: one table of SGLang's paths and of each field that they take.
// rules.go has the rules of the table, and reader.go reads a body once, by the table.
// handler.go decides which paths are answered, passed on and refused. POST /generate is
// batched (generate.go) if it is a prefill that can be part of a list (parse.go). A request
// that scores is sent in two parts (score.go), whose answers join.go joins. Every other
// body is passed to SGLang unchanged. abort.go ends prompts by the ids of their clients,
// form.go checks the path that takes a form, and errors.go writes errors in SGLang's form.
//
// The package never logs or returns prompt text, and passes nothing on that is known to
// crash SGLang or that Go and Python could read as two different requests.
package compat
