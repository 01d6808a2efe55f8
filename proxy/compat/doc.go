// Package compat serves SGLang's own HTTP interface, so that a client need only change its
// URL.
//
// Read handler.go first: it decides which paths are answered, passed on and refused. POST
// /generate is batched (generate.go) if it is a prefill that can be part of a list
// (parse.go). Every other request that may hold a prompt is read (body.go), checked
// (shield.go) and passed to SGLang unchanged. abort.go ends prompts by the ids of their
// clients, and errors.go writes errors in SGLang's form.
//
// The package never logs or returns prompt text, and passes nothing on that is known to
// crash SGLang.
package compat
