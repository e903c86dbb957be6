import type { INodeProperties } from 'n8n-workflow';
import { DURABLE } from '../shared/durable.ts';

export interface Options {
  keepInput?: boolean;
}

export const properties: INodeProperties[] = [
  {
    displayName: 'Step Name or ID',
    name: 'step',
    type: 'options',
    typeOptions: { loadOptionsMethod: 'getSteps' },
    default: '',
    required: true,
    noDataExpression: true,
    description:
      'Choose from the list, or specify an ID using an <a href="https://docs.n8n.io/code/expressions/">expression</a>',
  },
  {
    displayName: 'Fields',
    name: 'fields',
    type: 'resourceMapper',
    noDataExpression: true,
    default: { mappingMode: 'defineBelow', value: null },
    required: true,
    displayOptions: { hide: { step: [''] } },
    typeOptions: {
      loadOptionsDependsOn: ['step'],
      resourceMapper: {
        resourceMapperMethod: 'getStepFields',
        mode: 'add',
        valuesLabel: 'Fields',
        fieldWords: { singular: 'field', plural: 'fields' },
        addAllFields: true,
        multiKeyMatch: false,
        supportAutoMap: false,
        noFieldsError: 'This step takes nothing.',
      },
    },
  },
  DURABLE,
  {
    displayName: 'Options',
    name: 'options',
    type: 'collection',
    placeholder: 'Add option',
    default: {},
    options: [
      {
        displayName: 'Keep Input Fields',
        name: 'keepInput',
        type: 'boolean',
        noDataExpression: true,
        default: false,
        description: 'Whether the fields of the input stay beside the result',
      },
    ],
  },
];
