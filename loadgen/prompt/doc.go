// Package prompt turns a problem statement into what is sent to the model: a
// Template makes the messages of a turn, and Render flattens messages into the
// one string that the model's chat format prescribes.
//
// It reads the template files it is told to and nothing else: it opens no
// connection, starts no goroutine, and never puts the text of a prompt into an
// error. Read Template first.
package prompt
