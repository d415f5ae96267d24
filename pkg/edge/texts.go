package edge

// introduction is the description of the whole API.
const introduction = `An edge answers which variant of each feature a subject gets. It answers from a snapshot in memory and keeps doing so without its database. Changes are made by the admin: calls that only the admin has get 423 here.

**Authentication.** By default an edge answers anyone. With ` + "`FLAGGERY_EDGE_AUTH=token`" + ` send a token of role client or higher as ` + "`Authorization: Bearer <token>`" + `.

**Revisions.** Each change of the configuration makes a new revision. The header ` + "`Flaggery-Revision`" + ` holds the revision that an answer is from. To read your own write, send its revision as ` + "`min_revision`" + ` with a GET: the edge waits for that revision or a later one, and answers 503 if it does not arrive in time.

**Caching.** Answers to GET, and to the OFREP call for all flags, have an ` + "`ETag`" + ` that changes with them. Send it in ` + "`If-None-Match`" + `: if the answer is still the same, it is 304 without a body.

**Errors.** A failed request is answered with a problem document (RFC 9457): ` + "`code`" + ` is for programs, ` + "`detail`" + ` for people, and ` + "`errors`" + ` names the invalid fields. Each operation lists its codes by status. Unknown query parameters are ignored.

**OpenFeature.** The operations under ` + "`/ofrep/v1/`" + ` are the OpenFeature Remote Evaluation Protocol (OFREP). ` + "`targetingKey`" + ` is the id of the subject. The protocol has its own form of failures: ` + "`errorCode`" + ` and ` + "`errorDetails`" + `.`
