// Package approval decides whose word counts: which decision of which person
// opens a gate, and which is refused and why.
//
// A decision arrives as a signal or an update that anyone with access to the
// Temporal namespace can send, and the sender's name on it is text that the
// sender chose. So what a person says is believed only as far as the estate's
// roles demand: an SSH signature over a [Statement] (see package sshsig for how
// it is made), a name that an authorizing server stamped, or, outside live mode,
// the name alone.
//
// The path of a decision: [Decode] makes a [Decision] of whatever was typed and
// never fails; [Gate.Judge] says what became of it. Both are pure, with the time
// as an argument, and run inside the workflow. A refusal is a [Judgement] like
// any other, to be recorded and shown.
package approval
