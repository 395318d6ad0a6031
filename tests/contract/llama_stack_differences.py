"""Where this server answers otherwise than Llama Stack 0.3.5 was heard to, and why."""

from __future__ import annotations

from tests.contract.differences import Difference

_MISSING = "What is not there is 404, and told before a stream begins"
_INVALID = "What is wrong with a turn is a status, told before a stream begins"
_WORKS = "It works here, and does not there"
_AGAIN = "A deletion of what is deleted is no error"
_ONE_TEXT = "What a tool says is one text here; the API takes a text or a list of items"
_WHOLE = "Calls are told once, whole: their arguments are not streamed piece by piece"
_LATER = "A job goes on when the answer is there, which waits for its end there"
_AT_ONCE = "Here it is asked once the job has ended"
_TOLD = "What a job uses is told, and why it failed"
_AS_SPECIFIED = "Errors have the other members of the specification's Error, too"
_OWNER = "The specification has no owner; others' datasets and benchmarks are not shown at all"
_RESUMED = "The turn was resumed by the call before, which 0.3.5 refuses"

RECORDED: tuple[Difference, ...] = (
    Difference("*: error $.status", _AS_SPECIFIED),
    Difference("*: error $.title", _AS_SPECIFIED),
    Difference("a04_agent_create_no_body_key: status", "The other shape of the body is taken, too"),
    Difference("a10_agent_get_missing: status", _MISSING),
    Difference("b04_session_create_unknown_agent: status", _MISSING),
    Difference("b05_session_get_missing: status", _MISSING),
    Difference("c02_turn_nonstream: status", _WORKS),
    Difference("c03_turn_no_stream_field: status", _WORKS),
    Difference("c07_turn_get_missing: status", _MISSING),
    Difference("c08_step_get_missing: status", _MISSING),
    Difference("c14_turn_empty_messages: status", "A turn without a message asks for nothing"),
    Difference("c15_turn_unknown_session: status", _MISSING),
    Difference("c16_turn_unknown_agent: status", _MISSING),
    Difference("c20_turn_image_url: status", "Only public addresses are fetched from"),
    Difference("d06_session_after_errors: *.image.url.uri", "The turn with that image is refused"),
    Difference("e03_turn_document_url: status", "Only public addresses are fetched from"),
    Difference("e04_turn_document_bad_mime: status", _INVALID),
    Difference("*.tool_responses[[]].content*", _ONE_TEXT),
    Difference("*.tool_responses[[]].metadata", "What a tool says beside its text is not kept"),
    Difference("*: inference.step_progress *.delta.parse_status", _WHOLE),
    Difference("*: inference.step_progress *.delta.tool_call", _WHOLE),
    Difference("f07_turn_mcp_bad_args: order", "The model is told, and may try again"),
    Difference("f10_turn_toolgroup_unknown: status", _INVALID),
    Difference("f12_turn_two_parallel_server_tools: order", "Calls of one round are one step"),
    Difference(
        "f15_turn_max_infer_iters: order",
        "The last time it is asked the model may not call: nobody could give the turn a result",
    ),
    Difference("g06_resume_nonstream: status", _WORKS),
    Difference("g07_resume_stream: status", _RESUMED),
    Difference("g09_resume_again: status", "Only a turn that waits is resumed"),
    Difference("g13_resume_wrong_call_id: status", "Only the calls that wait have results"),
    Difference("g14_resume_unknown_turn: status", "Only a turn that waits is resumed"),
    Difference("h09_output_shield_violation: order", "What a shield refuses is not told before"),
    Difference("h12_unknown_shield: status", _INVALID),
    Difference("j05_sessions_list_unknown_agent: status", _MISSING),
    Difference("j07_session_get_deleted: status", _MISSING),
    Difference("j08_session_delete_again: status", _AGAIN),
    Difference("j10_agent_get_deleted: status", _MISSING),
    Difference("j11_agent_delete_again: status", _AGAIN),
    Difference("j12_turn_deleted_agent: status", _MISSING),
    Difference("*: $.owner", _OWNER),
    Difference("*: $.source", "Where a benchmark is from is not in the specification"),
    Difference("b07_iterrows_negative_start: status", "A page begins at 0 or later"),
    Difference("b08_iterrows_missing: status", _MISSING),
    Difference("c03_append_rows_missing_dataset: status", _MISSING),
    Difference("c05_append_rows_bare_list: status", "The rows may come without their wrapper"),
    Difference("d08_benchmark_get_missing: status", _MISSING),
    Difference("e0?_job_*_missing: status", _MISSING),
    Difference("e01_run_eval: $.status", _LATER),
    Difference("e10_run_eval_agent_candidate: $.status", _LATER),
    Difference("e04_job_cancel: status", _WORKS),
    Difference("e08_run_eval_missing_benchmark: status", _MISSING),
    Difference("e13_run_eval_bad_dataset: status", _MISSING),
    Difference("e14_run_eval_bare_config: status", "The other shape of the body is taken, too"),
    Difference("e15_job_wrong_benchmark: status", _MISSING),
    Difference("f03_evaluate_rows_llm_as_judge: status", _WORKS),
    Difference("f06_evaluate_rows_missing_benchmark: status", _MISSING),
    Difference("f07_evaluate_rows_empty: status", _WORKS),
    Difference("g02_benchmark_unregister_again: status", _AGAIN),
    Difference("g04_dataset_unregister_again: status", _AGAIN),
    Difference("h01_rerank: status", _WORKS),
    Difference("i03_pt_status_now: $.status", _AT_ONCE),
    Difference("i03_pt_status_now: $.completed_at", _AT_ONCE),
    Difference("i0?_pt_status_*: $.resources_allocated", _TOLD),
    Difference("i09_pt_cancel: status", "Here jobs are canceled, but not one that has ended"),
    Difference("i10_pt_cancel_query: error *", "The id may stand in the query, too"),
    Difference("i1?_pt_*: status", _MISSING),
    Difference("i16_pt_sft_qat: status", "Training here knows LoRA, not QAT"),
)
