// Package tokenizer turns text into the token ids of the Qwen2, Qwen2.5 and Qwen3 models:
// byte-level BPE exactly as their tokenizer.json says, in pure Go. It is verified token for
// token against Hugging Face's tokenizers. It refuses a file that needs other steps.
//
// A batch of ids reaches SGLang's scheduler as one message, and SGLang need not tokenize.
// A list of texts is tokenized and passed on one by one.
//
//	t, err := tokenizer.Load("tokenizer.json")
//	ids := t.Encode("def add(a, b):")
//
// Text takes four steps. Added tokens such as <|im_end|> are cut out; the rest is brought to
// normal form C (nfc.go) and cut into pieces (split.go); each piece is merged from its bytes
// (bpe.go; trie.go finds whole tokens in long ones). The time grows with the length of the
// text alone, whatever it is made of. Read tokenizer.go first; file.go reads the file.
package tokenizer
