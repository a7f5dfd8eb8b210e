package lake

import (
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/table"
)

// dynamoDB says why a table is taken to be written through the log store that enters
// commits in DynamoDB first; empty where nothing says so. DynamoDB itself is not asked.
func (t Table) dynamoDB(l table.Table) string {
	switch {
	case t.Decl != nil && t.Decl.LogStore == table.S3DynamoDB:
		return "as the estate says (log_store: s3-dynamodb)"
	case l.Extent().LogStore == table.S3DynamoDB:
		return "as commits staged beside its log show, which the estate does not say: write log_store: s3-dynamodb there"
	}
	return ""
}

// Staging says of a table that commits of it may be staged beside the log, and which are;
// empty for one whose commits go to their names at once.
func (t Table) Staging(l table.Table) string {
	by := t.dynamoDB(l)
	if by == "" {
		return ""
	}
	text := fmt.Sprintf("%s commits through DynamoDB, %s: commits may be staged beside its log", t.Name, by)
	for _, p := range l.Extent().Pending {
		text += fmt.Sprintf("; version %d, of which the log has no commit, may have been acknowledged", p.Number)
	}
	return text
}

// AcceptRewritten asks for what people must do at DynamoDB where a table becomes another
// one than its entries there say: keeps is the last version that stays, and made the one
// that is then committed to the log alone, zero for none.
func (t Table) AcceptRewritten(l table.Table, keeps, made int64) []action.Acceptance {
	by := t.dynamoDB(l)
	if by == "" {
		return nil
	}
	s := fmt.Sprintf("Table %s commits through Spark's DynamoDB log store, %s. Nobody asks DynamoDB here. ", t.Name, by)
	if made > 0 {
		s += fmt.Sprintf("Every writer with that log store, and every reader that finishes commits for it, has stopped: version %d is committed in the log alone, and one of them that has entered that version would write over it. ", made)
	}
	s += fmt.Sprintf("Before any writer with that log store starts here: delete the entries of this table above version %d from its DynamoDB table. They are stale: the next writer or reader would copy what they stage into the log, or be refused every commit whose number is entered.", keeps)
	return []action.Acceptance{{ID: "log-store " + t.Name, Sentence: s}}
}
