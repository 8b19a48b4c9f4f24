/* chat_table.c - the templates: what stands around each role's message.
 *
 * Shapes, spaces and newlines are as the models were trained, hence as in the
 * templates that their publishers ship: a missing space costs quality. Sources:
 * the tokenizer_config.json of each model; the tools' forms are those of
 * Llama 3.1, of Qwen 2.5 (ChatML with tools) and of Falcon3-Instruct. */
#include "core/model/chat_parts.h"

#define STR(s) { s, sizeof s - 1 }

/* ChatML's form, which is also what templates without one of their own get. */
static const struct chat_tools tags = {
    .lead = "\n\n",
    .intro = "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
             "You are provided with function signatures within <tools></tools> XML tags:\n"
             "<tools>\n",
    .between = "\n",
    .outro = "\n</tools>\n\nFor each function call, return a json object with function name and "
             "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
             "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>",
    .call_before = "<tool_call>\n", .call_between = "\n</tool_call>\n<tool_call>\n",
    .call_after = "\n</tool_call>", .arguments = "arguments",
    .result = { "<tool_response>\n", "\n</tool_response>" },
    .merge = true,
};

static const struct chat_tools llama3_tools = {
    .lead = "",
    .intro = "Given the following functions, please respond with a JSON for a function call with "
             "its proper arguments that best answers the given prompt.\n\nRespond in the format "
             "{\"name\": function name, \"parameters\": dictionary of argument name and its "
             "value}.Do not use variables.\n\n",
    .between = "\n\n", .indent = 4,
    .outro = "\n\n",
    .with_user = true,
    .call_before = "", .call_between = "\n", .call_after = "", .arguments = "parameters",
    .result = { "", "" },
};

static const struct chat_tools falcon3_tools = {
    .lead = "",
    .intro = "You are a Falcon assistant skilled in function calling. You are helpful, "
             "respectful, and concise.\n\n# Tools\n\nYou have access to the following functions. "
             "You MUST use them to answer questions when needed. For each function call, you MUST "
             "return a JSON object inside <tool_call></tool_call> tags.\n\n<tools>[\n  ",
    .between = ",\n  ", .indent = 2, .level = 1,
    .outro = "\n]</tools>\n\n# Output Format\n\nYour response MUST follow this format when making "
             "function calls:\n<tool_call>\n[\n  {\"name\": \"function_name\", \"arguments\": "
             "{\"arg1\": \"value1\", \"arg2\": \"value2\"}},\n  {\"name\": "
             "\"another_function\", \"arguments\": {\"arg\": \"value\"}}\n]\n</tool_call>\n"
             "If no function calls are needed, respond normally without the tool_call tags.",
    .call_before = "\n<tool_call>\n[\n  ", .call_between = ",\n  ",
    .call_after = "\n]\n</tool_call>", .arguments = "arguments",
    .result = { "", "" },
};

const struct chat_template chat_table[] = {
    {
        .name = "2b4t",               /* bitnet-b1.58-2B-4T                    */
        .mark = { { "<|begin_of_text|>", CHAT_AS_BOS }, { "<|eot_id|>", CHAT_AS_EOS } },
        .end = { "<|eot_id|>" },
        .begin = "<|begin_of_text|>",
        .frame = {
            [CHAT_SYSTEM] = { "System: ", "<|eot_id|>" },
            [CHAT_USER] = { "User: ", "<|eot_id|>" },
            [CHAT_ASSISTANT] = { "Assistant: ", "<|eot_id|>" },
            [CHAT_TOOL] = { "User: ", "<|eot_id|>" },
        },
        .trim = true,
        .generation = "Assistant: ",
        .tools = &tags,
    },
    {
        .name = "llama3",
        .mark = { { "<|begin_of_text|>", CHAT_AS_BOS }, { "<|start_header_id|>", CHAT_AS_TEXT },
                  { "<|end_header_id|>", CHAT_AS_TEXT }, { "<|eot_id|>", CHAT_AS_EOS } },
        .end = { "<|eot_id|>", "<|eom_id|>" },
        .begin = "<|begin_of_text|>",
        .frame = {
            [CHAT_SYSTEM] = { "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>" },
            [CHAT_USER] = { "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>" },
            [CHAT_ASSISTANT] = { "<|start_header_id|>assistant<|end_header_id|>\n\n",
                                 "<|eot_id|>" },
            [CHAT_TOOL] = { "<|start_header_id|>ipython<|end_header_id|>\n\n", "<|eot_id|>" },
        },
        .trim = true,
        .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n",
        .calls = CHAT_CALL_JSON,
        .tools = &llama3_tools,
    },
    {
        .name = "falcon3",
        .mark = { { "<|endoftext|>", CHAT_AS_EOS }, { "<|system|>", CHAT_AS_TEXT },
                  { "<|user|>", CHAT_AS_TEXT }, { "<|assistant|>", CHAT_AS_TEXT } },
        .end = { "<|endoftext|>", "<|user|>", "<|system|>" },
        .begin = "",
        .frame = {
            [CHAT_SYSTEM] = { "<|system|>\n", "\n" },
            [CHAT_USER] = { "<|user|>\n", "\n" },
            [CHAT_ASSISTANT] = { "<|assistant|>\n", "<|endoftext|>\n" },
            [CHAT_TOOL] = { "<|assistant|>\n<tool_response>\n", "\n</tool_response>\n" },
        },
        .last = "<|endoftext|>",
        .generation = "<|assistant|>\n",
        .tools = &falcon3_tools,
    },
    {
        .name = "chatml",             /* Falcon-E                              */
        .mark = { { "<|im_start|>", CHAT_AS_TEXT }, { "<|im_end|>", CHAT_AS_TEXT } },
        .end = { "<|im_end|>", "<|im_start|>" },
        .begin = "",
        .frame = {
            [CHAT_SYSTEM] = { "<|im_start|>system\n", "<|im_end|>\n" },
            [CHAT_USER] = { "<|im_start|>user\n", "<|im_end|>\n" },
            [CHAT_ASSISTANT] = { "<|im_start|>assistant\n", "<|im_end|>\n" },
            [CHAT_TOOL] = { "<|im_start|>user\n", "<|im_end|>\n" },
        },
        .generation = "<|im_start|>assistant\n",
        .tools = &tags,
    },
    {
        .name = "llama2",
        .mark = { { "<s>", CHAT_AS_BOS }, { "</s>", CHAT_AS_EOS } },
        .end = { "</s>" },
        .begin = "",
        .frame = {
            [CHAT_SYSTEM] = { "<<SYS>>\n", "\n<</SYS>>\n\n" },
            [CHAT_USER] = { "<s>[INST] ", " [/INST]" },
            [CHAT_ASSISTANT] = { " ", " </s>" },
            [CHAT_TOOL] = { "<s>[INST] ", " [/INST]" },
        },
        .trim = true,
        .system_inside = true,
        .generation = "",
        .tools = &tags,
    },
    {
        .name = "zephyr",
        .mark = { { "</s>", CHAT_AS_EOS }, { "<|system|>", CHAT_AS_TEXT },
                  { "<|user|>", CHAT_AS_TEXT }, { "<|assistant|>", CHAT_AS_TEXT } },
        .end = { "</s>" },
        .begin = "",
        .frame = {
            [CHAT_SYSTEM] = { "<|system|>\n", "</s>\n" },
            [CHAT_USER] = { "<|user|>\n", "</s>\n" },
            [CHAT_ASSISTANT] = { "<|assistant|>\n", "</s>\n" },
            [CHAT_TOOL] = { "<|user|>\n", "</s>\n" },
        },
        .generation = "<|assistant|>\n",
        .tools = &tags,
    },
    {
        .name = "plain",              /* models that were never taught to chat */
        .stop = { STR("\nUser:"), STR("\nSystem:") },
        .begin = "",
        .frame = {
            [CHAT_SYSTEM] = { "System: ", "\n" },
            [CHAT_USER] = { "User: ", "\n" },
            [CHAT_ASSISTANT] = { "Assistant: ", "\n" },
            [CHAT_TOOL] = { "User: ", "\n" },
        },
        .trim = true,
        .generation = "Assistant:",
        .tools = &tags,
    },
};
const unsigned chat_n_table = sizeof chat_table / sizeof *chat_table;
