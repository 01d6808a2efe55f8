// Package compat is SGLang's own HTTP interface, so that a client changes one URL.
//
// Read handler.go first: it says which paths are answered, passed on and refused. POST
// /generate is batched (generate.go) where it is a prefill that a list can carry
// (parse.go). Everything else that may hold a prompt is read (body.go), checked
// (shield.go) and passed to SGLang as it came. abort.go ends prompts by the id that
// their client gave them, and errors.go answers in SGLang's words.
//
// The package never logs or returns prompt text, and never lets through what is known
// to end SGLang.
package compat
